import { useState } from "react";
import type { Shown } from "./SampleDialog";
import { post } from "./server";
import { useWords } from "./settings";
import type { DataView, Errors as Found, Mistake } from "./types";
import { useBlob } from "./useBlob";
import { useWatched } from "./useWatched";

interface Props {
  view: DataView;
  imgsz: number;
  show: (shown: Shown) => void;
  fail: (error: unknown) => void;
}

const PERIOD = 500;
const PAGE = 24;

/** The objects that the open model missed and the boxes that it found wrongly, the worst first. */
export function Errors({ view, imgsz, show, fail }: Props) {
  const words = useWords();
  const splits = Object.keys(view.statistics.images).filter((split) => view.statistics.images[split]);
  const [split, setSplit] = useState(splits.find((one) => one !== "train") ?? splits[0] ?? "");
  const [conf, setConf] = useState(0.25);
  const [size, setSize] = useState(imgsz);
  const [kind, setKind] = useState("");
  const [name, setName] = useState("");
  const query = `kind=${encodeURIComponent(kind)}&name=${encodeURIComponent(name)}`;
  const { found, setFound, running, look } = useWatched<Found>(`data/errors?${query}`, PERIOD, fail);
  const start = (event: React.FormEvent) => {
    event.preventDefault();
    post<Found>("data/errors", { split, conf, imgsz: size }).then(setFound, fail);
  };
  return (
    <section aria-label={words("errors")}>
      <h3>{words("errors")}</h3>
      <form className="row" onSubmit={start}>
        <select aria-label={words("split")} value={split} onChange={(event) => setSplit(event.target.value)}>
          {splits.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
        <label>
          {words("confidence")}{" "}
          <input type="number" min={0.01} max={1} step={0.01} value={conf} onChange={(event) => setConf(Number(event.target.value))} />
        </label>
        <label>
          {words("imageSize")}{" "}
          <input type="number" min={32} max={4096} step={32} value={size} onChange={(event) => setSize(Number(event.target.value))} />
        </label>
        {running ? (
          <button type="button" onClick={() => post("data/errors/stop").then(look, fail)}>
            {words("stop")}
          </button>
        ) : (
          <button type="submit" className="primary">
            {words("findErrors")}
          </button>
        )}
      </form>
      {running && <progress value={found?.done} max={found?.total} aria-label={words("progress")} />}
      {found?.state === "failed" && <p className="fault">{found.fault}</p>}
      {found?.state === "finished" && (
        <>
          <p>
            {found.split}: AP {found.ap?.toFixed(4) ?? "–"}, AP50 {found.ap50?.toFixed(4) ?? "–"}
          </p>
          <div className="row">
            <select aria-label={words("errorKind")} value={kind} onChange={(event) => setKind(event.target.value)}>
              <option value="">{words("allKinds")}</option>
              {(Object.keys(found.kinds) as Mistake["kind"][]).map((one) => (
                <option key={one} value={one}>
                  {words(`error.${one}`)} ({found.kinds[one]})
                </option>
              ))}
            </select>
            <select aria-label={words("class")} value={name} onChange={(event) => setName(event.target.value)}>
              <option value="">{words("allClasses")}</option>
              {view.names.map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </div>
          <Gallery key={`${kind} ${name} ${found.split}`} worst={found.worst} show={show} />
        </>
      )}
    </section>
  );
}

function Gallery({ worst, show }: { worst: Mistake[]; show: (shown: Shown) => void }) {
  const words = useWords();
  const [most, setMost] = useState(PAGE);
  return (
    <>
      <ul className="mistakes">
        {worst.slice(0, most).map((one, i) => (
          <li key={i}>
            <Card mistake={one} show={show} />
          </li>
        ))}
      </ul>
      {worst.length > most && <button onClick={() => setMost(most + PAGE)}>{words("more", { n: worst.length - most })}</button>}
    </>
  );
}

function Card({ mistake, show }: { mistake: Mistake; show: (shown: Shown) => void }) {
  const words = useWords();
  const [left, top, right, bottom] = mistake.box;
  const { split, index } = mistake.image;
  const address = useBlob(
    `data/thumbnail?split=${encodeURIComponent(split)}&index=${index}&left=${left}&top=${top}&right=${right}&bottom=${bottom}`,
  );
  const what = mistake.other ? `${mistake.name} (${mistake.other})` : mistake.name;
  const text = `${words(`error.${mistake.kind}`)}: ${what}${mistake.score ? ` ${mistake.score.toFixed(2)}` : ""}`;
  return (
    <button onClick={() => show({ place: mistake.image, text, box: mistake.box })}>
      {address ? <img src={address} alt="" /> : <span className="empty" />}
      {text}
    </button>
  );
}
