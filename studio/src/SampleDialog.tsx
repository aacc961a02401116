import { useEffect, useState } from "react";
import { BoxMark, LabelMarks } from "./Boxes";
import { Dialog } from "./Dialogs";
import { get } from "./server";
import { useWords } from "./settings";
import type { Place, SampleView } from "./types";
import { useBlob } from "./useBlob";

/** An image of the data set that is shown, why, and the box that it is about. */
export interface Shown {
  place: Place;
  text: string;
  box?: [number, number, number, number];
}

interface Props {
  shown: Shown;
  close: () => void;
  fail: (error: unknown) => void;
}

/** An image of the data set with its labels and what the model found, over each other. */
export function SampleDialog({ shown, close, fail }: Props) {
  const words = useWords();
  const [sample, setSample] = useState<SampleView | null>(null);
  const [labels, setLabels] = useState(true);
  const [found, setFound] = useState(true);
  const query = `split=${encodeURIComponent(shown.place.split)}&index=${shown.place.index}`;
  const address = useBlob(`data/image?${query}`);
  useEffect(() => {
    get<SampleView>(`data/sample?${query}`).then(setSample, (error) => {
      close();
      fail(error);
    });
  }, [query]);
  const size = sample ? Math.max(sample.width, sample.height) / 300 : 1;
  return (
    <Dialog title={sample?.name ?? "…"} close={close}>
      <p>{shown.text}</p>
      <div className="row">
        <label className="check">
          <input type="checkbox" checked={labels} onChange={(event) => setLabels(event.target.checked)} />
          {words("labels")}
        </label>
        {sample && sample.detections.length > 0 && (
          <label className="check">
            <input type="checkbox" checked={found} onChange={(event) => setFound(event.target.checked)} />
            {words("predictions")}
          </label>
        )}
      </div>
      {sample && (
        <div className="stage">
          <img src={address} alt={sample.name} />
          <svg viewBox={`0 0 ${sample.width} ${sample.height}`} aria-hidden="true">
            {found && sample.detections.map((one, i) => <BoxMark key={i} box={one} size={size} />)}
            {labels && <LabelMarks labels={sample.labels} size={size} />}
            {shown.box && <Frame box={shown.box} size={size} />}
          </svg>
        </div>
      )}
    </Dialog>
  );
}

/** The box that is meant, with room around it. */
function Frame({ box: [left, top, right, bottom], size }: { box: [number, number, number, number]; size: number }) {
  const room = 4 * size;
  const place = { x: left - room, y: top - room, width: right - left + 2 * room, height: bottom - top + 2 * room };
  return (
    <g className="frame" fill="none">
      <rect {...place} stroke="#000000" strokeWidth={4 * size} />
      <rect {...place} stroke="#ffffff" strokeWidth={2 * size} />
    </g>
  );
}
