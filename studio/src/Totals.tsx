import { useContext } from "react";
import { change, count, flops, mib } from "./numbers";
import { LostContext, useWords } from "./settings";
import type { Opened, Predicted, Timed } from "./types";

interface Props {
  opened: Opened;
  timed: Timed | null;
  predicted: Predicted | null;
  measuring: boolean;
  measure: () => void;
  /** Open the dialog that loads weights. */
  load: () => void;
}

const milliseconds = (value: number) => `${value.toFixed(1)} ms`;

/** What the whole model costs, compared with the base of the edits. */
export function Totals({ opened, timed, measuring, measure, predicted, load }: Props) {
  const words = useWords();
  const lost = useContext(LostContext);
  const { difference, diagram, given } = opened;
  if (!difference) return null;
  const rows: [string, [number, number], (value: number) => string][] = [
    [words("parameters"), difference.parameters, count],
    [words("flops"), difference.gflops.map((value) => value * 1e9) as [number, number], flops],
    [words("memory"), difference.saved_mib, mib],
  ];
  return (
    <section className="totals" aria-label={words("totals")}>
      {rows.map(([title, [before, after], text]) => (
        <div key={title}>
          <span>{title}</span>
          <strong>{text(after)}</strong>
          {opened.edits.length > 0 && <small>{change(before, after, text)}</small>}
        </div>
      ))}
      <div>
        <span>{words("weightsKept")}</span>
        <strong>{opened.trained ? words("nOfN", { n: difference.kept, m: difference.tensors }) : words("noWeights")}</strong>
        {given && (
          <small>
            {words("loadedFrom", { file: given.file })}: {words("nOfN", { n: given.kept, m: given.tensors })}
            {given.partly > 0 && words("inPart", { n: given.partly })}
          </small>
        )}
        {(!opened.trained || given) && (
          <button onClick={load} disabled={lost}>
            {words("loadWeights")}
          </button>
        )}
      </div>
      <div>
        <span>
          {words("latency")} ({diagram.imgsz} px)
        </span>
        {predicted && (
          <>
            <strong>≈ {predicted.edited.toFixed(1)} ms</strong> <small>{words("predictedMs")}</small>
            <small>{change(predicted.base, predicted.edited, milliseconds)}</small>
          </>
        )}
        {timed && (
          <>
            <strong title={timed.device}>{timed.total.toFixed(1)} ms</strong> <small>{words("measuredMs")}</small>
          </>
        )}
        {timed?.base_total != null && <small>{change(timed.base_total, timed.total, milliseconds)}</small>}
        <button onClick={measure} disabled={measuring || lost}>
          {words(measuring ? "measuring" : timed ? "measureAgain" : "measure")}
        </button>
      </div>
    </section>
  );
}
