import { useEffect, useState } from "react";
import { get, listen, post } from "./server";
import { useWords } from "./settings";
import type { Files, RunInfo, Saved } from "./types";
import { Curve } from "./Curve";

interface Props {
  stem: string;
  trainable: boolean;
  fail: (error: unknown) => void;
}

/** The runs of the workspace as they go on, and a form that starts one with the open model. */
export function Runs({ stem, trainable, fail }: Props) {
  const words = useWords();
  const [runs, setRuns] = useState<RunInfo[]>([]);
  const [chosen, setChosen] = useState("");

  useEffect(() => {
    const stop = new AbortController();
    listen("runs/events", (data) => setRuns(data as RunInfo[]), stop.signal).catch(
      (error) => stop.signal.aborted || fail(error),
    );
    return () => stop.abort();
  }, [fail]);

  const run = runs.find((one) => one.name === chosen) ?? runs[0];
  return (
    <div className="runs">
      {trainable && <StartForm {...{ stem, fail, busy: runs.some((one) => one.state === "running"), started: setChosen }} />}
      {runs.length ? <RunTable runs={runs} chosen={run?.name ?? ""} choose={setChosen} /> : <p className="hint">{words("noRuns")}</p>}
      {run && <RunView run={run} fail={fail} />}
    </div>
  );
}

function RunTable({ runs, chosen, choose }: { runs: RunInfo[]; chosen: string; choose: (name: string) => void }) {
  const words = useWords();
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={words("runs")}>
      <table>
        <thead>
          <tr>
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

function RunView({ run, fail }: { run: RunInfo; fail: (error: unknown) => void }) {
  const words = useWords();
  const losses = Object.keys(run.results).filter((name) => name.startsWith("train/"));
  const done = epochsOf(run);
  const seconds = (run.results["train_seconds"] ?? []).reduce<number>((sum, one, i) => sum + (one ?? 0) + (run.results["val_seconds"]?.[i] ?? 0), 0);
  const left = done && run.settings.epochs ? (seconds / done) * (run.settings.epochs - done) : 0;
  const act = (path: string) => post(path, { run: run.name }).catch(fail);
  return (
    <section aria-label={run.name}>
      <h3 className="with-button">
        {run.name}
        {run.state === "running" && left > 0 && <small>{words("remaining", { time: clock(left) })}</small>}
        {run.state === "running" && <button onClick={() => act("runs/stop")}>{words("stop")}</button>}
        {run.state === "stopped" && <button onClick={() => act("runs/resume")}>{words("resume")}</button>}
      </h3>
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

function clock(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  return minutes >= 60
    ? `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")} h`
    : `${minutes}:${String(Math.floor(seconds % 60)).padStart(2, "0")} min`;
}

interface StartProps {
  stem: string;
  busy: boolean;
  started: (name: string) => void;
  fail: (error: unknown) => void;
}

function StartForm({ stem, busy, started, fail }: StartProps) {
  const words = useWords();
  const [data, setData] = useState("");
  const [name, setName] = useState(stem);
  const [numbers, setNumbers] = useState({ epochs: 15, imgsz: 320, batch: 16, seed: 0 });
  useEffect(() => void get<Files>("files").then((files) => setData((now) => now || (files.data ?? ""))).catch(fail), [fail]);
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    post<Saved>("train", { name, data, ...numbers }).then((saved) => started(saved.path), fail);
  };
  const titles = { epochs: words("epochs"), imgsz: words("imageSize"), batch: words("batch"), seed: words("seed") };
  return (
    <details>
      <summary>{words("start")}</summary>
      <form onSubmit={submit} className="module">
        <label className="field">
          {words("name")} <input value={name} required onChange={(event) => setName(event.target.value)} />
        </label>
        <label className="field">
          {words("data")}{" "}
          <input value={data} required placeholder="synthetic:context" onChange={(event) => setData(event.target.value)} />
        </label>
        {(Object.keys(titles) as (keyof typeof titles)[]).map((key) => (
          <label className="field" key={key}>
            {titles[key]}{" "}
            <input
              type="number"
              min={key === "seed" ? 0 : 1}
              value={numbers[key]}
              onChange={(event) => setNumbers({ ...numbers, [key]: Number(event.target.value) })}
            />
          </label>
        ))}
        <button type="submit" className="primary" disabled={busy}>
          {words("start")}
        </button>
      </form>
    </details>
  );
}
