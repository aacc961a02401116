import { useEffect, useMemo, useRef, useState } from "react";
import { Field } from "./Field";
import { count, flops, mib, percent, shape } from "./numbers";
import { get, post } from "./server";
import { useWords } from "./settings";
import { familyName } from "./words";
import type { EditQuestion, Entry, Node, Option, PlaceCost } from "./types";

interface Props {
  nodes: Node[];
  node: Node | null;
  version: number;
  busy: boolean;
  /** Whether the heading of the layer is to get the focus, once. */
  focus: boolean;
  focused: () => void;
  edit: (question: EditQuestion) => void;
  select: (name: string) => void;
}

/** What is known of a layer, and what may go after it or in its place. */
export function Inspector({ nodes, node, version, busy, focus, focused, edit, select }: Props) {
  const words = useWords();
  const [kind, setKind] = useState<"insert" | "replace">("insert");
  if (!node) return <p className="hint">{words("noLayer")}</p>;
  const readers = nodes.filter((one) => one.inputs.includes(node.name));
  return (
    <div className="inspector" onKeyDown={(event) => event.key === "Escape" && back(node.name)}>
      <Facts node={node} {...{ readers, focus, focused, select }} />
      {node.section !== "detect" && (
        <>
          <div className="row" role="group">
            <button aria-pressed={kind === "insert"} onClick={() => setKind("insert")}>
              {words("insertAfter", { name: node.name })}
            </button>
            <button aria-pressed={kind === "replace"} onClick={() => setKind("replace")}>
              {words("replaceBy", { name: node.name })}
            </button>
            {node.inputs.length === 1 && (
              <button disabled={busy} onClick={() => edit({ kind: "remove", layer: node.name })}>
                {words("remove")}
              </button>
            )}
          </div>
          <Catalogue key={`${node.name} ${kind}`} {...{ node, readers, kind, version, busy, edit }} />
        </>
      )}
    </div>
  );
}

/** Put the focus back on a layer of the graph. */
function back(name: string): void {
  document.querySelector<HTMLElement>(`.graph .react-flow__node[data-id="${CSS.escape(name)}"]`)?.focus({ preventScroll: true });
}

interface FactsProps {
  node: Node;
  readers: Node[];
  focus: boolean;
  focused: () => void;
  select: (name: string) => void;
}

function Facts({ node, readers, focus, focused, select }: FactsProps) {
  const words = useWords();
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (!focus) return;
    heading.current?.focus();
    focused();
  }, [focus, focused]);
  const links = (names: string[]) =>
    names.map((name) => (
      <button key={name} className="link" onClick={() => select(name)} disabled={name === "image"}>
        {name}
      </button>
    ));
  return (
    <section>
      <h2 ref={heading} tabIndex={-1}>
        {node.index} · {node.name}
      </h2>
      <dl className="facts">
        <dt>{words("module")}</dt>
        <dd>
          <code>
            {node.module} {node.arguments}
          </code>
        </dd>
        {node.cost && (
          <>
            <dt>{words("output")}</dt>
            <dd>{shape(node.cost.output)}</dd>
            <dt>{words("parameters")}</dt>
            <dd>{count(node.cost.parameters)}</dd>
            <dt>{words("flops")}</dt>
            <dd>
              {flops(node.cost.flops)} ({percent(node.cost.share)})
            </dd>
            <dt>{words("memory")}</dt>
            <dd>{mib(node.cost.saved_mib)}</dd>
          </>
        )}
        {node.gate !== null && (
          <>
            <dt>{words("gate")}</dt>
            <dd>{node.gate.toPrecision(3)}</dd>
          </>
        )}
        <dt>{words("reads")}</dt>
        <dd>{links(node.inputs)}</dd>
        {readers.length > 0 && (
          <>
            <dt>{words("readBy")}</dt>
            <dd>{links(readers.map((one) => one.name))}</dd>
          </>
        )}
      </dl>
      {node.note && <p className="hint">{node.note}</p>}
    </section>
  );
}

type Chosen = Omit<Props, "nodes" | "select" | "node" | "focus" | "focused"> & { node: Node; readers: Node[]; kind: "insert" | "replace" };

function Catalogue({ node, readers, kind, version, busy, edit }: Chosen) {
  const words = useWords();
  const [entries, setEntries] = useState<Entry[]>([]);
  const [costs, setCosts] = useState<Map<string, PlaceCost>>(new Map());
  const [search, setSearch] = useState("");
  const [family, setFamily] = useState("");
  const [name, setName] = useState("");
  const place = kind === "insert" ? node.name : (node.inputs[0] ?? node.name);

  useEffect(() => void get<Entry[]>("catalogue").then(setEntries).catch(() => undefined), []);
  useEffect(() => {
    const stop = new AbortController();
    get<PlaceCost[]>(`catalogue/costs?after=${encodeURIComponent(place)}&gate=${kind === "insert"}`, stop.signal)
      .then((found) => setCosts(new Map(found.map((cost) => [cost.name, cost]))))
      .catch(() => undefined);
    return () => stop.abort();
  }, [place, kind, version]);

  const families = useMemo(() => [...new Set(entries.map((entry) => entry.family))], [entries]);
  const shown = entries.filter(
    (entry) =>
      (!family || entry.family === family) &&
      `${entry.name} ${entry.summary} ${entry.paper}`.toLowerCase().includes(search.toLowerCase()),
  );
  const entry = entries.find((one) => one.name === name);
  return (
    <section>
      <div className="row">
        <input
          type="search"
          value={search}
          placeholder={words("whichModule")}
          aria-label={words("whichModule")}
          onChange={(event) => setSearch(event.target.value)}
        />
        <select value={family} aria-label={words("family")} onChange={(event) => setFamily(event.target.value)}>
          <option value="">{words("allFamilies")}</option>
          {families.map((one) => (
            <option key={one} value={one}>
              {familyName(one, words)}
            </option>
          ))}
        </select>
      </div>
      <ul className="catalogue">
        {shown.map((one) => (
          <li key={one.name}>
            <button aria-pressed={one.name === name} onClick={() => setName(one.name)}>
              {one.family === OWN ? (
                <span className="pattern" />
              ) : (
                <img className="pattern" src={`patterns/${one.name}.webp`} alt="" loading="lazy" width={28} height={28} />
              )}
              <strong>{one.name}</strong> <span className="family">{familyName(one.family, words)}</span>
              <CostText cost={costs.get(one.name)} />
            </button>
          </li>
        ))}
      </ul>
      {entry && <ModuleForm key={entry.name} {...{ entry, node, readers, kind, busy, edit, place, version }} />}
    </section>
  );
}

/** The family of the user's own modules, which have no pattern. */
const OWN = "own";

function CostText({ cost }: { cost: PlaceCost | undefined }) {
  const words = useWords();
  if (!cost) return <small>…</small>;
  if (cost.obstacle) return <small>{words("doesNotFit", { why: cost.obstacle })}</small>;
  return (
    <small>
      +{count(cost.parameters)} · {flops(cost.flops)}FLOPs · {mib(cost.saved_mib)}
    </small>
  );
}

type FormProps = Chosen & { entry: Entry; place: string };

function ModuleForm({ entry, node, readers, kind, busy, edit, place, version }: FormProps) {
  const words = useWords();
  const [values, setValues] = useState<Record<string, unknown>>({});
  const [gate, setGate] = useState(true);
  const cost = useCost(place, entry.name, values, kind === "insert" && gate, version);
  const [chosen, setChosen] = useState<string[]>(readers.map((one) => one.name));
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    const some = chosen.length < readers.length ? chosen : null;
    edit({ kind, layer: node.name, module: entry.name, options: values, gate, readers: kind === "insert" ? some : null });
  };
  const set = (option: Option, value: unknown) =>
    setValues(({ [option.name]: _, ...rest }) => (value === undefined ? rest : { ...rest, [option.name]: value }));
  return (
    <form className="module" onSubmit={submit}>
      <h3>{entry.name}</h3>
      {entry.family !== OWN && <figure className="pattern-card">
        <img src={`patterns/${entry.name}.webp`} alt={words("pattern", { name: entry.name })} width={120} height={120} />
        <img src="patterns/scene.webp" alt={words("scene")} width={120} height={120} />
        <figcaption>{words("patternNote")}</figcaption>
      </figure>}
      <p>{entry.summary}</p>
      {entry.equation && (
        <p>
          <code>{entry.equation}</code>
        </p>
      )}
      {entry.paper && <p>
        {words("paper")}:{" "}
        {entry.address ? (
          <a href={entry.address} target="_blank" rel="noreferrer">
            {entry.paper}
          </a>
        ) : (
          entry.paper
        )}
      </p>}
      <p>
        {words("costHere")}: {cost?.option ? "–" : <CostText cost={cost} />}
      </p>
      {entry.options.map((option) => (
        <Field
          key={option.name}
          facts={option}
          value={values[option.name]}
          set={(value) => set(option, value)}
          fault={cost?.option === option.name ? cost.obstacle : undefined}
        />
      ))}
      {kind === "insert" && (
        <>
          <label className="check">
            <input type="checkbox" checked={gate} onChange={(event) => setGate(event.target.checked)} />
            {words("withGate")}
          </label>
          {readers.length > 1 && (
            <fieldset>
              <legend>{words("readers")}</legend>
              {readers.map(({ name }) => (
                <label className="check" key={name}>
                  <input
                    type="checkbox"
                    checked={chosen.includes(name)}
                    onChange={() =>
                      setChosen(chosen.includes(name) ? chosen.filter((one) => one !== name) : [...chosen, name])
                    }
                  />
                  {name}
                </label>
              ))}
            </fieldset>
          )}
        </>
      )}
      <button type="submit" className="primary" disabled={busy || (kind === "insert" && readers.length > 0 && !chosen.length)}>
        {words(kind)} {entry.name}
      </button>
    </form>
  );
}

/** What a module costs with the options of the form; asked for when these have not changed for a moment. */
function useCost(after: string, module: string, options: Record<string, unknown>, gate: boolean, version: number): PlaceCost | undefined {
  const [cost, setCost] = useState<PlaceCost>();
  useEffect(() => {
    const stop = new AbortController();
    const timer = setTimeout(() => {
      post<PlaceCost>("catalogue/cost", { after, module, options, gate }, stop.signal)
        .then(setCost)
        .catch(() => undefined);
    }, 150);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [after, module, options, gate, version]);
  return cost;
}
