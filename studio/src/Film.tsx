import { useEffect, useRef, useState } from "react";
import { BoxMark } from "./Boxes";
import { listen } from "./server";
import { useWords } from "./settings";
import type { Played } from "./types";

const SUFFIXES = /\.(avi|m4v|mkv|mov|mp4|mpe?g|webm|wmv|gif)$/i;

/** Whether a file is a video, as far as its name and type say. */
export const isVideo = (file: File) => file.type.startsWith("video/") || SUFFIXES.test(file.name);

/** Whether a file is an image or a video, and no model. */
export const isPicture = (file: File) => file.type.startsWith("image/") || isVideo(file);

/** Whether a file is the graph of a model, as far as its name says. */
export const isGraph = (file: File) => /\.ya?ml$/i.test(file.name);

/** A video of the workspace by its path, or one of the page by its key. */
export interface Chosen {
  name: string;
  key?: string;
}

interface Props {
  video: Chosen;
  conf: number;
  iou: number;
  base: boolean;
  title: string;
  fail: (error: unknown) => void;
}

/** A video that plays with its detections. */
export function Film({ video, conf, iou, base, title, fail }: Props) {
  const words = useWords();
  const [frame, setFrame] = useState<Played | null>(null);
  const [stride, setStride] = useState(1);
  const [playing, setPlaying] = useState(true);
  const [round, setRound] = useState(0);
  const [ended, setEnded] = useState(false);
  const gate = useGate(playing);
  useEffect(() => {
    const stop = new AbortController();
    const which: Record<string, string> = video.key ? { key: video.key } : { source: video.name };
    const asked = new URLSearchParams({ ...which, conf: String(conf), iou: String(iou), stride: String(stride), base: String(base) });
    setEnded(false);
    const show = async (data: unknown) => {
      setFrame(data as Played);
      await gate();
    };
    listen(`film?${asked}`, show, stop.signal).then(
      () => setEnded(true),
      (error) => stop.signal.aborted || fail(error),
    );
    return () => stop.abort();
  }, [video, conf, iou, stride, base, round, gate, fail]);
  const size = frame ? Math.max(frame.width, frame.height) / 300 : 1;
  return (
    <figure className="viewer">
      <figcaption>
        {title} {frame && `· ${words("frame", { n: frame.number })} · ${words("detections", { n: frame.boxes.length })}`}
      </figcaption>
      {frame && (
        <div className="stage">
          <img src={`data:image/jpeg;base64,${frame.image}`} alt={title} />
          <svg viewBox={`0 0 ${frame.width} ${frame.height}`} aria-hidden="true">
            {frame.boxes.map((one, i) => (
              <BoxMark key={i} box={one} size={size} />
            ))}
          </svg>
        </div>
      )}
      <div className="row">
        {ended ? (
          <button onClick={() => setRound(round + 1)}>{words("again")}</button>
        ) : (
          <button onClick={() => setPlaying(!playing)}>{words(playing ? "pause" : "play")}</button>
        )}
        <label>
          {words("stride")}{" "}
          <input type="number" min={1} max={1000} value={stride} onChange={(event) => setStride(Math.max(1, Number(event.target.value)))} />
        </label>
      </div>
    </figure>
  );
}

/** A function that waits while the video is paused. */
function useGate(open: boolean): () => Promise<void> {
  const state = useRef({ open, waiting: [] as (() => void)[] });
  const [gate] = useState(
    () => () => (state.current.open ? Promise.resolve() : new Promise<void>((go) => state.current.waiting.push(go))),
  );
  useEffect(() => {
    state.current.open = open;
    if (open) state.current.waiting.splice(0).forEach((go) => go());
  }, [open]);
  return gate;
}
