import { ReactFlowProvider } from "@xyflow/react";
import { useEffect, useMemo, useState } from "react";
import { Dialog } from "./Dialogs";
import { faultText } from "./faults";
import { Graph } from "./Graph";
import { change, count, flops, mib } from "./numbers";
import { get, post, ServerFault } from "./server";
import { useWords } from "./settings";
import type { Comparison, Diagram, Fault, Files, LayerDifference, Opened } from "./types";

/** Two models next to each other: what differs, and which tensors the second can take from the first. */
export function CompareModels({ opened, dark, close, fail }: { opened: Opened; dark: boolean; close: () => void; fail: (error: unknown) => void }) {
  const words = useWords();
  const [files, setFiles] = useState<Files | null>(null);
  const [names, setNames] = useState({ a: "", b: "" });
  const [found, setFound] = useState<Comparison | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  const known = files ? [...files.models, ...files.zoo] : [];
  useEffect(() => {
    get<Files>("files").then(
      (listed) => {
        setFiles(listed);
        if ([...listed.models, ...listed.zoo].includes(opened.source)) setNames({ a: opened.source, b: "" });
      },
      () => undefined,
    );
  }, [opened.source]);
  const compare = (event: React.FormEvent) => {
    event.preventDefault();
    setFault(null);
    post<Comparison>("diff", names).then(setFound, (error) => (error instanceof ServerFault ? setFault(error.fault) : fail(error)));
  };
  return (
    <Dialog title={words("compareModels")} close={close} wide>
      <form className="row" onSubmit={compare}>
        {(["a", "b"] as const).map((side) => (
          <select key={side} aria-label={words(`model.${side}`)} value={names[side]} onChange={(event) => setNames({ ...names, [side]: event.target.value })}>
            <option value="">{words("openModelNow")}</option>
            {known.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        ))}
        <button type="submit" className="primary">
          {words("compare")}
        </button>
      </form>
      {fault && (
        <p className="fault" role="alert">
          {faultText(fault, words)}
        </p>
      )}
      {found && <Result {...{ found, dark }} />}
    </Dialog>
  );
}

function Result({ found, dark }: { found: Comparison; dark: boolean }) {
  const words = useWords();
  const { tensors, costs } = found;
  const rows: [string, [number, number], (value: number) => string][] = [
    [words("parameters"), costs.parameters, count],
    [words("flops"), costs.flops, flops],
    [words("memory"), costs.activation_bytes.map((value) => value / 2 ** 20) as [number, number], mib],
  ];
  const changes = useMemo(() => new Map(found.layers.map((layer) => [layer.name, layer.change])), [found]);
  const kept = tensors.equal === null ? "" : ` (${words("equalTensors", { n: tensors.equal })})`;
  return (
    <>
      <div className="totals">
        {rows.map(([title, [before, after], text]) => (
          <div key={title}>
            <span>{title}</span>
            <strong>
              {text(before)} → {text(after)}
            </strong>
            <small>{change(before, after, text)}</small>
          </div>
        ))}
        <div>
          <span>{words("weightsKept")}</span>
          <strong>
            {words("nOfN", { n: tensors.kept, m: tensors.total })}
            {kept}
            {tensors.partly > 0 && words("inPart", { n: tensors.partly })}
          </strong>
        </div>
      </div>
      {found.classes && (
        <p>
          {words("classNames")}: {found.classes}
        </p>
      )}
      <div className="two">
        {([found.a, found.b] as const).map((diagram, i) => (
          <Side key={i} name={found.names[i]!} {...{ diagram, dark, changes }} />
        ))}
      </div>
      <Differences layers={found.layers} />
      <Tensors found={found} />
    </>
  );
}

const NONE = new Set<string>();

function Side({ name, diagram, dark, changes }: { name: string; diagram: Diagram; dark: boolean; changes: Map<string, string> }) {
  const [selected, select] = useState<string | null>(null);
  return (
    <section aria-label={name}>
      <h3>{name}</h3>
      <ReactFlowProvider>
        <Graph nodes={diagram.nodes} fresh={NONE} findings={[]} metric="flops" timed={null} fields={null} search="" {...{ dark, changes, selected, select }} />
      </ReactFlowProvider>
    </section>
  );
}

function Differences({ layers }: { layers: LayerDifference[] }) {
  const words = useWords();
  const different = layers.filter((layer) => layer.change !== "same");
  return (
    <section aria-label={words("differences")}>
      <h3>{different.length ? words("differences") : words("sameGraph")}</h3>
      <ul className="differences">
        {different.map((layer, i) => (
          <li key={i} className={layer.change}>
            <strong>{words(`change.${layer.change}`)}</strong> {layer.name}: {layer.after || layer.before}
            {layer.details.length > 0 && ` — ${layer.details.join("; ")}`}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Tensors({ found }: { found: Comparison }) {
  const words = useWords();
  const counted = (all: Record<string, Record<string, number>>) =>
    Object.entries(all).map(([layer, texts]) => `${layer}: ${Object.entries(texts).map(([text, n]) => `${n} × ${text}`).join(", ")}`);
  const unused = Object.entries(found.tensors.unused).map(([layer, n]) => `${layer}: ${n}`);
  const list = (title: string, lines: string[]) =>
    lines.length > 0 && (
      <details>
        <summary>
          {title} ({lines.length})
        </summary>
        <ul>
          {lines.map((line) => (
            <li key={line}>{line}</li>
          ))}
        </ul>
      </details>
    );
  return (
    <>
      {list(words("keptInPart"), counted(found.tensors.in_part))}
      {list(words("notKept"), counted(found.tensors.missing))}
      {list(words("unusedTensors"), unused)}
    </>
  );
}
