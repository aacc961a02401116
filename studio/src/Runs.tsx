import { useContext, useEffect, useState } from "react";
import { Compare } from "./Compare";
import { Curve } from "./Curve";
import { clock } from "./numbers";
import { listen, post } from "./server";
import { LostContext, useWords } from "./settings";
import { Start } from "./Start";
import { isOver, Study } from "./Study";
import type { Opened, Pending, RunInfo, StudyInfo, Work } from "./types";

interface Props {
  opened: Opened;
  stem: string;
  dark: boolean;
  fail: (error: unknown) => void;
}

/** Milliseconds until a stream of events that has ended is asked for again. */
const AGAIN = 2000;

const NOTHING: Work = { runs: [], studies: [], waiting: [], running: [], pending: [] };

/** The trainings and studies of the workspace as they go on, and forms that start them. */
export function Runs({ opened, stem, dark, fail }: Props) {
  const words = useWords();
  const [work, setWork] = useState<Work>(NOTHING);
  const [chosen, setChosen] = useState("");
  const [compared, setCompared] = useState<string[]>([]);

  const lost = useContext(LostContext);
  useEffect(() => {
    if (lost) return;
    const stop = new AbortController();
    const follow = () =>
      listen("jobs/events", (data) => setWork(data as Work), stop.signal)
        .catch((error) => stop.signal.aborted || fail(error))
        .finally(() => stop.signal.aborted || setTimeout(() => stop.signal.aborted || void follow(), AGAIN));
    void follow();
    return () => stop.abort();
  }, [fail, lost]);

  const { runs, studies, waiting, running, pending } = work;
  const study = studies.find((one) => one.name === chosen);
  const run = study ? undefined : (runs.find((one) => one.name === chosen) ?? runs[0]);
  const several = runs.filter((one) => compared.includes(one.name));
  const form = { opened, stem, fail, started: setChosen };
  return (
    <div className="runs">
      {opened.difference && (
        <>
          <Start kind="train" {...form} />
          <Start kind="study" {...form} />
        </>
      )}
      {(waiting.length > 0 || pending.length > 0) && <Waiting {...{ waiting, pending, fail }} />}
      {studies.length > 0 && <StudyTable studies={studies} chosen={study?.name ?? ""} choose={setChosen} />}
      {study && <Study key={study.name} {...{ study, dark, fail }} own={running.includes(study.name)} />}
      {runs.length ? <RunTable {...{ runs, compared, setCompared }} chosen={run?.name ?? ""} choose={setChosen} /> : <p className="hint">{words("noRuns")}</p>}
      {several.length > 1 && <Compare runs={several} fail={fail} />}
      {run && <RunView run={run} own={running.includes(run.name)} fail={fail} />}
    </div>
  );
}

/** What has not begun: it waits, is being set up, or was stopped or has failed before its first epoch. */
function Waiting({ waiting, pending, fail }: { waiting: string[]; pending: Pending[]; fail: (error: unknown) => void }) {
  const words = useWords();
  const lost = useContext(LostContext);
  const studies = waiting.filter((name) => !pending.some((one) => one.name === name));
  const all: Pending[] = [...pending, ...studies.map((name) => ({ name, state: "waiting" as const, log: "", fault: "" }))];
  const button = (path: string, run: string, word: "stop" | "dequeue" | "begin" | "discard") => (
    <button disabled={lost} onClick={() => post(`runs/${path}`, { run }).catch(fail)}>{words(word)}</button>
  );
  return (
    <section aria-label={words("waiting")}>
      <h3>{words("waiting")}</h3>
      <ol>
        {all.map(({ name, state, log, fault }) => (
          <li key={name}>
            {name} · {words(state === "stopped" ? "notBegun" : `state.${state}`)}{" "}
            {state === "starting" && button("stop", name, "stop")}
            {state === "waiting" && button("stop", name, "dequeue")}
            {isOver(state) && button("resume", name, "begin")} {isOver(state) && button("discard", name, "discard")}
            {fault && <p className="fault">{fault}</p>}
            {log && (
              <details>
                <summary>{words("log")}</summary>
                <pre tabIndex={0}>{log}</pre>
              </details>
            )}
          </li>
        ))}
      </ol>
    </section>
  );
}

interface StudyTableProps {
  studies: StudyInfo[];
  chosen: string;
  choose: (name: string) => void;
}

function StudyTable({ studies, chosen, choose }: StudyTableProps) {
  const words = useWords();
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={words("studies")}>
      <table>
        <thead>
          <tr>
            {(["study", "state", "finishedRuns"] as const).map((word) => (
              <th key={word} scope="col">
                {words(word)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {studies.map((one) => (
            <tr key={one.name} aria-selected={one.name === chosen}>
              <th scope="row">
                <button className="link" onClick={() => choose(one.name)}>
                  {one.name}
                </button>
              </th>
              <td>{words(`state.${one.state}`)}</td>
              <td>
                {one.runs.filter((run) => run.status === "finished").length} / {one.runs.length}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface RunTableProps {
  runs: RunInfo[];
  compared: string[];
  setCompared: (names: string[]) => void;
  chosen: string;
  choose: (name: string) => void;
}

function RunTable({ runs, compared, setCompared, chosen, choose }: RunTableProps) {
  const words = useWords();
  const toggle = (name: string) =>
    setCompared(compared.includes(name) ? compared.filter((one) => one !== name) : [...compared, name]);
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={words("runs")}>
      <table className="runs-table">
        <thead>
          <tr>
            <th scope="col">{words("compare")}</th>
            {(["run", "state", "epoch", "ap", "ap50", "imageSize", "seed"] as const).map((word) => (
              <th key={word} scope="col">
                {words(word)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <tr key={run.name} aria-selected={run.name === chosen}>
              <td>
                <input
                  type="checkbox"
                  aria-label={`${words("compare")}: ${run.name}`}
                  checked={compared.includes(run.name)}
                  onChange={() => toggle(run.name)}
                />
              </td>
              <th scope="row">
                <button className="link" onClick={() => choose(run.name)}>
                  {run.name}
                </button>
              </th>
              <td>{words(`state.${run.state}`)}</td>
              <td>
                {epochsOf(run)} / {run.settings.epochs ?? "?"}
              </td>
              <td>{shownAp(run, "ap")}</td>
              <td>{shownAp(run, "ap50")}</td>
              <td>{run.settings.imgsz}</td>
              <td>{run.settings.seed}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function epochsOf(run: RunInfo): number {
  return Object.values(run.results)[0]?.length ?? 0;
}

/** The final value, else the best so far. */
function shownAp(run: RunInfo, name: "ap" | "ap50"): string {
  const values = (run.results[`val/${name}`] ?? []).filter((value): value is number => value !== null);
  const value = run.metrics[name] ?? (values.length ? Math.max(...values) : undefined);
  return value === undefined ? "" : value.toFixed(4);
}

/** A run; only one that a studio of the workspace started, its `own`, can be stopped here. */
function RunView({ run, own, fail }: { run: RunInfo; own: boolean; fail: (error: unknown) => void }) {
  const words = useWords();
  const lost = useContext(LostContext);
  const losses = Object.keys(run.results).filter((name) => name.startsWith("train/"));
  const done = epochsOf(run);
  const seconds = (run.results["train_seconds"] ?? []).reduce<number>((sum, one, i) => sum + (one ?? 0) + (run.results["val_seconds"]?.[i] ?? 0), 0);
  const left = done && run.settings.epochs ? (seconds / done) * (run.settings.epochs - done) : 0;
  const act = (path: string) => post(path, { run: run.name }).catch(fail);
  return (
    <section aria-label={run.name}>
      <h3 className="with-button">
        {run.name}
        {lost && <small>{words("stateThen", { state: words(`state.${run.state}`) })}</small>}
        {!lost && run.state === "running" && left > 0 && <small>{words("remaining", { time: clock(left) })}</small>}
        {!lost && own && <button onClick={() => act("runs/stop")}>{words("stop")}</button>}
        {!lost && run.state === "waiting" && <button onClick={() => act("runs/stop")}>{words("dequeue")}</button>}
        {!lost && run.state === "running" && !own && <small>{words("startedElsewhere")}</small>}
        {!lost && isOver(run.state) && <button onClick={() => act("runs/resume")}>{words("resume")}</button>}
      </h3>
      {run.fault && <p className="fault">{run.fault}</p>}
      <p className="hint">
        {words("data")}: {run.data}
      </p>
      <Curve title={words("curve")} series={{ AP: run.results["val/ap"] ?? [], AP50: run.results["val/ap50"] ?? [] }} top={1} />
      <Curve title={words("losses")} series={Object.fromEntries(losses.map((name) => [name.slice(6), run.results[name]!]))} />
      {run.log && (
        <details>
          <summary>{words("log")}</summary>
          <pre tabIndex={0}>{run.log}</pre>
        </details>
      )}
    </section>
  );
}
