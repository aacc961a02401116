import type { Node } from "./types";

export const NODE = { width: 186, height: 58 };
const GAP = 12;
const COLUMN_GAP = 64;
const BAND_PADDING = 12;
const HEADING = 36;

export interface Place {
  x: number;
  y: number;
  column: number;
  slot: number;
}

export interface Layout {
  places: Map<string, Place>;
  bands: { level: number; y: number; height: number }[];
  columns: { x: number; title: "backbone" | "neck" | "topDown" | "bottomUp" | "detect" }[];
  width: number;
  height: number;
}

interface Phase {
  column: number;
  up: boolean;
}

/**
 * Place a detector as its papers draw it: a band for each level P1 to P6, and a column for each way through the levels:
 * down the backbone, up the neck to the finer levels, down again, and the detection head.
 */
export function layout(nodes: Node[]): Layout {
  const phases = phasesOf(nodes);
  const levels = levelsOf(nodes);
  const detect = nodes.filter((node) => node.section === "detect");
  const cells = new Map<string, Node[]>();
  for (const node of nodes) {
    if (node.section === "detect") continue;
    const key = `${phases.get(node.name)!.column} ${levels.get(node.name)}`;
    cells.set(key, [...(cells.get(key) ?? []), node]);
  }
  const last = Math.max(0, ...[...phases.values()].map((phase) => phase.column));
  const bands: Layout["bands"] = [];
  let y = HEADING;
  for (const level of [...new Set(levels.values())].sort((a, b) => a - b)) {
    const most = Math.max(
      ...[...cells].filter(([key]) => key.endsWith(` ${level}`)).map(([, inside]) => inside.length),
    );
    const height = most * (NODE.height + GAP) - GAP + 2 * BAND_PADDING;
    bands.push({ level, y, height });
    y += height;
  }
  const places = new Map<string, Place>();
  for (const [key, inside] of cells) placeCell(key, inside, phases, bands, places);
  const x = (last + 1) * (NODE.width + COLUMN_GAP);
  detect.forEach((node, i) =>
    places.set(node.name, { x, y: (HEADING + y - NODE.height) / 2 + i * (NODE.height + GAP), column: last + 1, slot: i }),
  );
  return { places, bands, columns: columnsOf(nodes, places, phases), width: x + NODE.width, height: y };
}

function placeCell(
  key: string,
  inside: Node[],
  phases: Map<string, Phase>,
  bands: Layout["bands"],
  places: Map<string, Place>,
): void {
  const [column, level] = key.split(" ").map(Number) as [number, number];
  const band = bands.find((one) => one.level === level)!;
  inside.forEach((node, i) => {
    const fromTop = band.y + BAND_PADDING + i * (NODE.height + GAP);
    const fromBottom = band.y + band.height - BAND_PADDING - NODE.height - i * (NODE.height + GAP);
    const y = phases.get(node.name)!.up ? fromBottom : fromTop;
    places.set(node.name, { x: column * (NODE.width + COLUMN_GAP), y, column, slot: i });
  });
}

/** The columns with their titles: the ways of a neck with several are told apart. */
function columnsOf(nodes: Node[], places: Map<string, Place>, phases: Map<string, Phase>): Layout["columns"] {
  const firsts = new Map<number, Node>();
  for (const node of nodes) {
    const { column } = places.get(node.name)!;
    if (!firsts.has(column)) firsts.set(column, node);
  }
  const necks = [...firsts.values()].filter((node) => node.section === "neck").length;
  return [...firsts.values()].map((node) => {
    const way = phases.get(node.name)?.up ? "topDown" : "bottomUp";
    return { x: places.get(node.name)!.x, title: node.section === "neck" && necks > 1 ? way : node.section };
  });
}

/** The level of each node; one whose stride is not known lies with what it reads. */
function levelsOf(nodes: Node[]): Map<string, number> {
  const levels = new Map<string, number>();
  for (const node of nodes) {
    if (node.section !== "detect") levels.set(node.name, node.level ?? levels.get(node.inputs[0] ?? "") ?? 0);
  }
  return levels;
}

/** The way through the levels to which each node belongs: a new one begins where the direction changes. */
function phasesOf(nodes: Node[]): Map<string, Phase> {
  const levels = levelsOf(nodes);
  const sections = new Map(nodes.map((node) => [node.name, node.section]));
  const phases = new Map<string, Phase>();
  for (const node of nodes) {
    if (node.section === "detect") continue;
    let best: Phase = { column: 0, up: false };
    node.inputs.forEach((input, i) => {
      const phase = phases.get(input);
      if (!phase) return;
      const step = levels.get(node.name)! - levels.get(input)!;
      let { column, up } = phase;
      const enters = node.section === "neck" && sections.get(input) === "backbone";
      if (enters || (step < 0 && !up) || (step > 0 && up)) {
        column += 1;
        up = enters ? step <= 0 : step < 0;
      }
      if (i === 0 || column > best.column) best = { column, up };
    });
    phases.set(node.name, best);
  }
  return phases;
}

export type Side = "top" | "bottom" | "left" | "right";

/** The sides of two nodes that a wire joins; one that passes other nodes of its column goes around them. */
export function sides(from: Place, to: Place, all: Iterable<Place>): [Side, Side] {
  if (from === to) return ["right", "bottom"];
  if (from.column < to.column) return ["right", "left"];
  if (from.column > to.column) return ["left", "right"];
  const [low, high] = [Math.min(from.y, to.y), Math.max(from.y, to.y)];
  for (const other of all) {
    if (other.column === from.column && other.y > low && other.y < high) return ["right", "right"];
  }
  return from.y < to.y ? ["bottom", "top"] : ["top", "bottom"];
}

const ARROWS: Record<string, [number, number]> = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

/** The nearest layer in the direction of an arrow key; null where there is none, or for another key. */
export function neighbour(places: Map<string, Place>, name: string, key: string): string | null {
  const [from, way] = [places.get(name), ARROWS[key]];
  if (!from || !way) return null;
  let [found, least]: [string | null, number] = [null, Infinity];
  for (const [other, to] of places) {
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const along = dx * way[0] + dy * way[1];
    const away = along + 3 * Math.abs(dx * way[1] + dy * way[0]);
    if (along > 0 && away < least) [found, least] = [other, away];
  }
  return found;
}
