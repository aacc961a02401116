import { useState } from "react";
import { Bars } from "./Bars";
import { Errors } from "./Errors";
import { SampleDialog, type Shown } from "./SampleDialog";
import { post } from "./server";
import { useWords } from "./settings";
import type { Checked, DataView } from "./types";
import { useWatched } from "./useWatched";

/** Milliseconds between two looks at a check. */
const PERIOD = 300;

interface Props {
  imgsz: number;
  trainable: boolean;
  fail: (error: unknown) => void;
}

/** A data set in numbers, its problems with their images, and the errors of the open model on it. */
export function Data({ imgsz, trainable, fail }: Props) {
  const words = useWords();
  const [source, setSource] = useState("");
  const [view, setView] = useState<DataView | null>(null);
  const [shown, setShown] = useState<Shown | null>(null);
  const open = (event: React.FormEvent) => {
    event.preventDefault();
    post<DataView>("data/open", { data: source }).then(setView, fail);
  };
  return (
    <div className="data">
      <form className="row" onSubmit={open}>
        <input
          value={source}
          aria-label={words("data")}
          placeholder={words("dataOfStart")}
          onChange={(event) => setSource(event.target.value)}
        />
        <button type="submit">{words("openData")}</button>
      </form>
      {view && (
        <>
          <p className="hint">
            {view.source} · {view.format} ·{" "}
            {Object.entries(view.statistics.images)
              .map(([split, count]) => `${split} ${count}`)
              .join(", ")}
          </p>
          <Check key={view.source} show={setShown} fail={fail} />
          {trainable && <Errors key={`errors ${view.source}`} {...{ view, imgsz, fail }} show={setShown} />}
          <details open>
            <summary>{words("histograms")}</summary>
            <Bars title={words("classes")} histogram={view.statistics.classes} />
            <Bars title={words("sizes")} histogram={view.statistics.sizes} />
            <Bars title={words("objectsPerImage")} histogram={view.statistics.objects} />
          </details>
        </>
      )}
      {shown && <SampleDialog shown={shown} close={() => setShown(null)} fail={fail} />}
    </div>
  );
}

/** The problems that `regard data check` finds, by kind; those that lose something come first. */
function Check({ show, fail }: { show: (shown: Shown) => void; fail: (error: unknown) => void }) {
  const words = useWords();
  const { found, setFound, running, look } = useWatched<Checked>("data/check", PERIOD, fail);
  const check = () => void post<Checked>("data/check").then(setFound, fail);
  const findings = found?.state === "finished" ? found.findings : null;
  return (
    <section aria-label={words("problems")}>
      <h3 className="with-button">
        {words("problems")}
        {running ? (
          <button onClick={() => void post("data/check/stop").then(look, fail)}>{words("stop")}</button>
        ) : (
          <button onClick={check}>{words("check")}</button>
        )}
      </h3>
      {running && <progress value={found?.done} max={found?.total} aria-label={words("progress")} />}
      {found?.state === "failed" && <p className="fault">{found.fault}</p>}
      {found?.state === "stopped" && <p className="hint">{words("checkStopped", { n: found.done, m: found.total })}</p>}
      {findings?.length === 0 && <p>{words("noProblems")}</p>}
      {findings?.map((one) => (
        <details key={one.kind + one.done}>
          <summary className={one.lost ? "lost" : ""}>
            {one.kind}: {one.count}
          </summary>
          <p className="hint">{one.done}</p>
          <ul>
            {one.first.map((problem, i) => (
              <li key={i}>
                {problem.image ? (
                  <button className="link" onClick={() => show({ place: problem.image!, text: `${one.kind}: ${problem.found}` })}>
                    {problem.where}
                  </button>
                ) : (
                  problem.where
                )}
                : {problem.found}
              </li>
            ))}
          </ul>
          {one.count > one.first.length && <p className="hint">{words("more", { n: one.count - one.first.length })}</p>}
        </details>
      ))}
    </section>
  );
}
