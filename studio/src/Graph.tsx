import {
  Background,
  type Edge,
  Handle,
  MarkerType,
  type Node as FlowNode,
  type NodeProps,
  Position,
  ReactFlow,
  useReactFlow,
  useStore,
} from "@xyflow/react";
import { memo, useCallback, useEffect, useMemo, useRef } from "react";
import { layout, neighbour, NODE, type Side, sides } from "./layout";
import { flops, percent, shape } from "./numbers";
import { useWords } from "./settings";
import type { Correction, Node, Timed } from "./types";

export type Metric = "flops" | "parameters" | "memory" | "time" | "receptive" | "none";

/** Width of the receptive field of each layer in pixels; null where it is the whole image. */
export type Fields = Record<string, number | null>;

interface LayerData extends Record<string, unknown> {
  node: Node;
  heat: number;
  value: string;
  fresh: boolean;
  wrong: boolean;
  dim: boolean;
  change: string;
  /** Whether the parameters are shown too, where the value is something else. */
  parameters: boolean;
}

interface BandData extends Record<string, unknown> {
  label: string;
}

const POSITIONS: Record<Side, Position> = {
  top: Position.Top,
  bottom: Position.Bottom,
  left: Position.Left,
  right: Position.Right,
};

const Layer = memo(function Layer({ data, selected }: NodeProps<FlowNode<LayerData>>) {
  const words = useWords();
  const { node } = data;
  const marks = [node.attention.length && "attends", data.fresh && "fresh", data.wrong && "wrong", data.dim && "dim", data.change];
  return (
    <div
      className={["layer", node.section, selected && "selected", ...marks].filter(Boolean).join(" ")}
      style={{ "--heat": data.heat } as React.CSSProperties}
    >
      {Object.entries(POSITIONS).map(([side, position]) => (
        <span key={side}>
          <Handle type="source" id={side} position={position} isConnectable={false} />
          <Handle type="target" id={side} position={position} isConnectable={false} />
        </span>
      ))}
      <div className="layer-top">
        <span className="layer-index">{node.index}</span>
        <span className="layer-name">{node.name}</span>
        {node.attention.length > 0 && <span className="unseen">{words("attention")}</span>}
        {data.fresh && <span className="badge">{words("newLayer")}</span>}
      </div>
      <div className="layer-module">
        <span className="layer-class">
          {node.module}
          {node.repeats > 1 && ` × ${node.repeats}`}
        </span>
        {node.cost && node.cost.parameters > 0 && data.parameters && <span>{flops(node.cost.parameters)}</span>}
      </div>
      <div className="layer-facts">
        <span>{node.cost && node.section !== "detect" ? shape(node.cost.output, "×") : ""}</span>
        {node.gate !== null && <span className="gate">{words("gateOf", { value: node.gate.toFixed(2) })}</span>}
        <span>{data.value}</span>
      </div>
    </div>
  );
});

const Band = memo(function Band({ data }: NodeProps<FlowNode<BandData>>) {
  return <div className="band">{data.label}</div>;
});

const Heading = memo(function Heading({ data }: NodeProps<FlowNode<BandData>>) {
  return <div className="heading">{data.label}</div>;
});

/** What a row reads that is no row. */
const Nothing = memo(function Nothing({ data }: NodeProps<FlowNode<BandData>>) {
  return (
    <div className="nothing">
      {data.label}
      <Handle type="source" id="right" position={Position.Right} isConnectable={false} />
    </div>
  );
});

const TYPES = { layer: Layer, band: Band, heading: Heading, nothing: Nothing };

/** Share of a metric in its sum, and its text. */
function measured(node: Node, { metric, timed, fields }: GraphProps, sum: number, whole: string): [number, string] {
  if (!node.cost || metric === "none") return [0, ""];
  if (metric === "receptive") {
    const size = fields?.[node.name];
    return size === undefined ? [0, ""] : size === null ? [1, whole] : [Math.min(size / WIDEST, 1), `${Math.round(size)} px`];
  }
  const value = valueOf(node, metric, timed);
  const share = sum ? value / sum : 0;
  const texts: Partial<Record<Metric, string>> = {
    flops: percent(share),
    parameters: flops(value),
    memory: `${value.toFixed(1)} MiB`,
    time: timed ? `${value.toFixed(2)} ms` : "",
  };
  return [share, texts[metric] ?? ""];
}

function valueOf(node: Node, metric: Metric, timed: Timed | null): number {
  if (!node.cost) return 0;
  if (metric === "parameters") return node.cost.parameters;
  if (metric === "memory") return node.cost.saved_mib;
  return metric === "time" ? (timed?.milliseconds[node.name] ?? 0) : node.cost.flops;
}

/** Receptive field with the strongest colour, in pixels. */
const WIDEST = 1280;

export interface GraphProps {
  nodes: Node[];
  fresh: Set<string>;
  findings: Correction[];
  metric: Metric;
  timed: Timed | null;
  fields: Fields | null;
  /** What differs from another model, by layer. */
  changes?: Map<string, string>;
  selected: string | null;
  search: string;
  /** The layer to which the view moves. */
  found?: string | null;
  /** Whether a narrow page shows a part of the graph that can be read, and not the whole. */
  readable?: boolean;
  dark: boolean;
  select: (name: string | null) => void;
  /** A layer was chosen by the keyboard. */
  enter?: (name: string) => void;
}

export function Graph(props: GraphProps) {
  const { nodes, select, selected } = props;
  const words = useWords();
  const flow = useReactFlow();
  const placed = useMemo(() => layout(nodes), [nodes]);
  const drawn = useFlowNodes(props, placed);
  const edges = useFlowEdges(props, placed);
  const size = `${placed.width} ${placed.height}`;
  const fit = useFit(props, placed, size);

  const { found } = props;
  useEffect(() => {
    if (found) void flow.fitView({ nodes: [{ id: found }], minZoom: flow.getZoom(), maxZoom: Math.max(flow.getZoom(), READABLE), duration: 0 });
  }, [found, flow]);

  const press = (event: React.KeyboardEvent) => {
    const name = event.target instanceof HTMLElement && event.target.matches(".react-flow__node") && event.target.dataset.id;
    if (!name) return;
    const next = neighbour(placed.places, name, event.key);
    if (next) event.currentTarget.querySelector<HTMLElement>(`[data-id="${CSS.escape(next)}"]`)?.focus();
    else if (props.enter && ["Enter", " "].includes(event.key)) props.enter(name);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div className="graph" role="region" aria-label={words("graph")} onKeyDownCapture={press}>
      <ReactFlow
        nodes={drawn}
        edges={edges}
        nodeTypes={TYPES}
        colorMode={props.dark ? "dark" : "light"}
        minZoom={0.15}
        maxZoom={1.6}
        nodesDraggable={false}
        nodesConnectable={false}
        edgesFocusable={false}
        elementsSelectable
        deleteKeyCode={null}
        proOptions={{ hideAttribution: true }}
        onNodeClick={(_, node) => node.type === "layer" && select(node.id)}
        onMoveStart={fit.moved}
        onPaneClick={() => select(null)}
        onNodesChange={(changes) => {
          for (const one of changes) {
            if (one.type === "select" && one.selected && one.id !== selected) select(one.id);
          }
        }}
      >
        <Background gap={24} />
      </ReactFlow>
      <Zoom whole={fit.whole} moved={fit.moved} />
    </div>
  );
}

/** The buttons of the zoom, next to the graph and not over it. */
function Zoom({ whole, moved }: { whole: () => void; moved: (event: object) => void }) {
  const words = useWords();
  const flow = useReactFlow();
  const zoom = (go: () => Promise<boolean>) => (event: object) => {
    moved(event);
    void go();
  };
  return (
    <div className="zoom" role="group" aria-label={words("zoom")}>
      {(
        [
          ["zoomIn", "M8 2v12M2 8h12", zoom(() => flow.zoomIn({ duration: 0 }))],
          ["zoomOut", "M2 8h12", zoom(() => flow.zoomOut({ duration: 0 }))],
          ["fitView", "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4", whole],
        ] as const
      ).map(([name, path, act]) => (
        <button key={name} aria-label={words(name)} title={words(name)} onClick={act}>
          <svg viewBox="0 0 16 16" width="14" height="14" fill="none" stroke="currentColor" strokeWidth="2" aria-hidden>
            <path d={path} />
          </svg>
        </button>
      ))}
    </div>
  );
}

/** Smallest zoom at which the texts of a node can be read; narrow pages show a part of the graph with it. */
const READABLE = 0.85;
const NARROW = 700;
const PADDING = { top: "6px", bottom: "14px", left: "6px", right: "10px" } as const;

/** Fit the graph into its part of the page, again when either changes, until the user moves it. */
function useFit({ readable, selected, findings }: GraphProps, { places }: ReturnType<typeof layout>, size: string) {
  const flow = useReactFlow();
  const [width, height] = [useStore((store) => store.width), useStore((store) => store.height)];
  const own = useRef(false);
  const last = useRef({ selected, places });
  last.current = { selected: selected ?? findings.find((one) => !one.note)?.layer ?? null, places };
  const whole = useCallback(() => {
    own.current = false;
    return flow.fitView({ padding: PADDING, maxZoom: 1.2, duration: 0 });
  }, [flow]);
  const fit = useCallback(async () => {
    await whole();
    if (!readable || width >= NARROW || flow.getZoom() >= READABLE) return;
    const place = last.current.places.get(last.current.selected ?? "");
    if (place) void flow.setCenter(place.x + NODE.width / 2, place.y + NODE.height / 2, { zoom: READABLE, duration: 0 });
    else void flow.setViewport({ x: 40 * READABLE + 6, y: 6, zoom: READABLE });
  }, [flow, whole, readable, width]);
  useEffect(() => {
    own.current = false;
  }, [size]);
  useEffect(() => {
    if (own.current || !width) return;
    const frame = requestAnimationFrame(() => void fit());
    return () => cancelAnimationFrame(frame);
  }, [size, width, height, fit]);
  useEffect(() => {
    const place = selected && last.current.places.get(selected);
    if (!place || !width) return;
    const { x, y, zoom } = flow.getViewport();
    const [left, top] = [place.x * zoom + x, place.y * zoom + y];
    if (left >= 0 && top >= 0 && left + NODE.width * zoom <= width && top + NODE.height * zoom <= height) return;
    void flow.setCenter(place.x + NODE.width / 2, place.y + NODE.height / 2, { zoom, duration: 0 });
    // only where a layer is selected elsewhere, as in the list of errors
  }, [selected]);
  const moved = useCallback((event: object | null) => {
    if (event) own.current = true; // not moved by the program
  }, []);
  return { whole, moved };
}

export function matches(node: Node, search: string): boolean {
  return `${node.name} ${node.module} ${node.index}`.toLowerCase().includes(search.toLowerCase());
}

function useFlowNodes(props: GraphProps, placed: ReturnType<typeof layout>): FlowNode[] {
  const words = useWords();
  const { nodes, metric, timed, fields, changes, selected, search, fresh, findings } = props;
  return useMemo(() => {
    const whole = words("wholeImage");
    const sum = nodes.reduce((total, node) => total + valueOf(node, metric, timed), 0);
    const most = Math.max(...nodes.map((node) => measured(node, props, sum, whole)[0]));
    const wrong = new Set(findings.filter((one) => !one.note).map((one) => one.layer));
    const fixed = { draggable: false, selectable: false, focusable: false, connectable: false } as const;
    const bands: FlowNode[] = placed.bands.map((band) => ({
      ...fixed,
      id: `band ${band.level}`,
      type: "band",
      position: { x: -40, y: band.y },
      width: placed.width + 52,
      height: band.height,
      zIndex: -1,
      data: { label: band.level ? `P${band.level}` : "" },
    }));
    const headings: FlowNode[] = placed.columns.map((column, i) => ({
      ...fixed,
      id: `heading ${i}`,
      type: "heading",
      position: { x: column.x - 30, y: 4 },
      width: NODE.width + 60,
      height: 28,
      data: { label: words(column.title) },
    }));
    const stop = nodes.some((node) => node.name === selected) ? selected : nodes[0]?.name;
    const layers = nodes.map((node): FlowNode => {
      const place = placed.places.get(node.name)!;
      const [heat, value] = measured(node, props, sum, whole);
      return {
        id: node.name,
        type: "layer",
        position: { x: place.x, y: place.y },
        width: NODE.width,
        height: NODE.height,
        selected: node.name === selected,
        ariaRole: "button",
        // one stop of the Tab key; the arrow keys lead from layer to layer
        domAttributes: { "aria-pressed": node.name === selected, tabIndex: node.name === stop ? 0 : -1 } as FlowNode["domAttributes"],
        data: {
          node,
          heat: most ? heat / most : 0,
          value,
          fresh: fresh.has(node.name),
          wrong: wrong.has(node.name),
          dim: search !== "" && !matches(node, search),
          change: changes?.get(node.name) ?? "",
          parameters: metric !== "parameters",
        },
      };
    });
    const nothings = missing(nodes, placed).map(({ id, x, y, name }): FlowNode => {
      return { ...fixed, id, type: "nothing", position: { x, y }, width: 52, height: 34, data: { label: words("noRow", { n: name }) } };
    });
    return [...bands, ...headings, ...layers, ...nothings];
  }, [nodes, placed, metric, timed, fields, changes, selected, search, fresh, findings, words]);
}

/** References to rows that there are not: where what they read is drawn. */
function missing(nodes: Node[], placed: ReturnType<typeof layout>) {
  return nodes.flatMap((node) =>
    node.inputs.flatMap((name, slot) => {
      const place = placed.places.get(node.name)!;
      if (placed.places.has(name) || name === "image") return [];
      return [{ id: `no ${node.name} ${slot}`, name, x: place.x - 62, y: place.y + 12 + 38 * slot - 19 * (node.inputs.length - 1) }];
    }),
  );
}

const ARROWS: Record<string, string> = { wrong: "var(--bad)", near: "var(--accent)", "": "var(--wire)" };

function useFlowEdges(props: GraphProps, placed: ReturnType<typeof layout>): Edge[] {
  const words = useWords();
  const { nodes, findings, selected } = props;
  return useMemo(() => {
    const wrong = new Set(
      findings.filter((one) => !one.note).flatMap((one) => one.slots.map((slot) => `${one.layer} ${slot}`)),
    );
    return nodes.flatMap((node) =>
      node.inputs.flatMap((input, slot): Edge[] => {
        const [from, to] = [placed.places.get(input), placed.places.get(node.name)];
        if (!to || input === "image") return [];
        const [sourceHandle, targetHandle] = from ? sides(from, to, placed.places.values()) : (["right", "left"] as const);
        const kind = wrong.has(`${node.name} ${slot}`) ? "wrong" : [input, node.name].includes(selected ?? "") ? "near" : "";
        return [
          {
            id: `${input} ${node.name} ${slot}`,
            source: from ? input : `no ${node.name} ${slot}`,
            target: node.name,
            sourceHandle,
            targetHandle,
            className: `wire ${kind}`,
            ariaLabel: words("wire", { from: input, to: node.name }),
            markerEnd: { type: MarkerType.ArrowClosed, width: 20, height: 20, markerUnits: "userSpaceOnUse", color: ARROWS[kind] },
            zIndex: kind ? 2 : 0,
          },
        ];
      }),
    );
  }, [nodes, findings, placed, selected, words]);
}
