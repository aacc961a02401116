import { useEffect, useState } from "react";
import { Curve } from "./Curve";
import { post } from "./server";
import { useWords } from "./settings";
import type { RunComparison, RunInfo } from "./types";

/** Chosen runs next to each other: their curves, the settings that differ, and their final metrics. */
export function Compare({ runs, fail }: { runs: RunInfo[]; fail: (error: unknown) => void }) {
  const words = useWords();
  const [found, setFound] = useState<RunComparison | null>(null);
  const names = runs.map((run) => run.name);
  const version = runs.map((run) => `${run.name} ${run.state}`).join("\n");
  useEffect(() => void post<RunComparison>("runs/compare", { runs: names }).then(setFound).catch(fail), [version, fail]);
  if (!found) return null;
  const rows = (values: Record<string, (number | string | null)[]>) =>
    Object.entries(values).map(([name, row]) => (
      <tr key={name}>
        <th scope="row">{name}</th>
        {row.map((value, i) => (
          <td key={i}>{typeof value === "number" ? Number(value.toPrecision(4)) : value}</td>
        ))}
      </tr>
    ));
  const head = (caption: string) => (
    <>
      <caption>{caption}</caption>
      <thead>
        <tr>
          <td />
          {found.runs.map((name) => (
            <th scope="col" key={name}>
              {name.split("/").pop()}
            </th>
          ))}
        </tr>
      </thead>
    </>
  );
  return (
    <section aria-label={words("compare")}>
      <h3>{words("compare")}</h3>
      <Curve title={words("curve")} series={Object.fromEntries(runs.map((run) => [run.name, run.results["val/ap"] ?? []]))} />
      <div className="scroll" tabIndex={0} role="region" aria-label={words("metrics")}>
        <table>
          {head(words("metrics"))}
          <tbody>{rows(found.metrics)}</tbody>
        </table>
        {Object.keys(found.settings).length > 0 && (
          <table>
            {head(words("settingsDiffer"))}
            <tbody>{rows(found.settings)}</tbody>
          </table>
        )}
      </div>
    </section>
  );
}
