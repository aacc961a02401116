import { useContext, useEffect, useRef, useState } from "react";
import { clock } from "./numbers";
import { blobAddress, get, post } from "./server";
import { LostContext, useWords } from "./settings";
import type { SeedRun, StudyInfo, StudyVerdict } from "./types";

interface Props {
  study: StudyInfo;
  /** Whether a studio of the workspace started it and it works. */
  own: boolean;
  dark: boolean;
  fail: (error: unknown) => void;
}

/** Whether something has ended before it was finished, and can be resumed. */
export const isOver = (state: StudyInfo["state"]) => state === "stopped" || state === "failed";

/** A study as it goes on: the verdict and the forest plot of the runs that have finished, and the runs. */
export function Study({ study, own, dark, fail }: Props) {
  const words = useWords();
  const lost = useContext(LostContext);
  const act = (path: string) => post(path, { run: study.name }).catch(fail);
  const finished = study.runs.filter((run) => run.status === "finished").length;
  return (
    <section aria-label={study.name}>
      <h3 className="with-button">
        {study.name}
        {lost && <small>{words("stateThen", { state: words(`state.${study.state}`) })}</small>}
        {!lost && study.seconds !== null && <small>{words("remaining", { time: clock(study.seconds) })}</small>}
        {!lost && study.state === "running" && !own && <small>{words("startedElsewhere")}</small>}
        {!lost && own && <button onClick={() => act("runs/stop")}>{words("stop")}</button>}
        {!lost && study.state === "waiting" && <button onClick={() => act("runs/stop")}>{words("dequeue")}</button>}
        {!lost && isOver(study.state) && <button onClick={() => act("runs/resume")}>{words("resume")}</button>}
      </h3>
      <p>{study.question || (!study.fault && words("settingUp"))}</p>
      {study.fault && <p className="fault">{study.fault}</p>}
      {study.runs.length > 0 && (
        <>
          <Results name={study.name} version={`${finished} ${study.state}`} dark={dark} />
          <RunGrid study={study} />
        </>
      )}
      {study.log && (
        <details open={!study.runs.length}>
          <summary>{words("log")}</summary>
          <pre tabIndex={0}>{study.log}</pre>
        </details>
      )}
    </section>
  );
}

function Results({ name, version, dark }: { name: string; version: string; dark: boolean }) {
  const words = useWords();
  const [verdict, setVerdict] = useState<StudyVerdict | null>(null);
  const [plot, setPlot] = useState("");
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const stop = new AbortController();
    const study = encodeURIComponent(name);
    const wide = (box.current?.clientWidth ?? 0) > 760;
    get<StudyVerdict>(`study/verdict?study=${study}`, stop.signal).then(setVerdict).catch(() => undefined);
    blobAddress(`study/forest?study=${study}&wide=${wide}&dark=${dark}`, stop.signal).then(setPlot).catch(() => undefined);
    return () => stop.abort();
  }, [name, version, dark, words]);
  useEffect(() => () => URL.revokeObjectURL(plot), [plot]);
  const text = verdict ? [verdict.headline, ...verdict.sentences].join(" ") : "";
  return (
    <div ref={box} className="results">
      {verdict && <p className="headline">{verdict.headline}</p>}
      {plot && <img className="forest" src={plot} alt={`${words("forest")}: ${text}`} />}
      {verdict && (
        <ul>
          {verdict.sentences.map((one) => (
            <li key={one}>{one}</li>
          ))}
        </ul>
      )}
      {verdict?.needed && <p className="hint">{verdict.needed}</p>}
    </div>
  );
}

function RunGrid({ study }: { study: StudyInfo }) {
  const words = useWords();
  const variants = [...new Set(study.runs.map((run) => run.variant))];
  const seeds = [...new Set(study.runs.map((run) => run.seed))];
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={words("runs")}>
      <table>
        <caption>{words("onVal", { metric: study.metric })}</caption>
        <thead>
          <tr>
            <th scope="col">{words("variant")}</th>
            {seeds.map((seed) => (
              <th scope="col" key={seed}>
                {words("seed")} {seed}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {variants.map((variant) => (
            <tr key={variant}>
              <th scope="row">{variant}</th>
              {seeds.map((seed) => (
                <RunCell key={seed} run={study.runs.find((one) => one.variant === variant && one.seed === seed)} />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function RunCell({ run }: { run: SeedRun | undefined }) {
  const words = useWords();
  if (!run) return <td />;
  const value = run.value?.toFixed(3) ?? "";
  if (run.status === "finished") return <td>{value}</td>;
  if (run.status === "failed") return <td title={run.error}>{words("state.failed")}</td>;
  return (
    <td className="hint">
      {run.status === "running" || run.epoch ? `${run.epoch}/${run.epochs} ${value}` : words("state.waiting")}
    </td>
  );
}
