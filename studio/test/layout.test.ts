import { expect, test } from "vitest";
import { layout, NODE, sides } from "../src/layout";
import type { Node } from "../src/types";

function node(index: number, name: string, level: number | null, inputs: string[], section: Node["section"]): Node {
  const nothing = { arguments: "", repeats: 1, attention: [], gate: null, line: null, note: "", cost: null };
  return { index, name, module: "Conv", inputs, section, level, ...nothing };
}

const NODES = [
  node(0, "stem", 1, ["image"], "backbone"),
  node(1, "p3", 3, ["stem"], "backbone"),
  node(2, "p4", 4, ["p3"], "backbone"),
  node(3, "p4.se", 4, ["p4"], "backbone"),
  node(4, "up", 3, ["p4.se"], "neck"),
  node(5, "concat", 3, ["up", "p3"], "neck"),
  node(6, "down", 4, ["concat"], "neck"),
  node(7, "join", 4, ["down", "p4.se"], "neck"),
  node(8, "detect", null, ["concat", "join"], "detect"),
];

test("each way through the levels is a column, each level a band", () => {
  const { places, bands } = layout(NODES);
  const columns = Object.fromEntries(NODES.map(({ name }) => [name, places.get(name)!.column]));
  expect(columns).toEqual({ stem: 0, p3: 0, p4: 0, "p4.se": 0, up: 1, concat: 1, down: 2, join: 2, detect: 3 });
  expect(bands.map((band) => band.level)).toEqual([1, 3, 4]);
  for (const { name, level } of NODES.slice(0, -1)) {
    const band = bands.find((one) => one.level === level)!;
    const { y } = places.get(name)!;
    expect(y).toBeGreaterThanOrEqual(band.y);
    expect(y + NODE.height).toBeLessThanOrEqual(band.y + band.height);
  }
});

test("columns are titled, several of the neck by their direction", () => {
  const titles = (nodes: Node[]) => layout(nodes).columns.map((column) => column.title);
  expect(titles(NODES)).toEqual(["backbone", "topDown", "bottomUp", "detect"]);
  expect(titles(NODES.filter(({ name }) => !["down", "join"].includes(name)))).toEqual(["backbone", "neck", "detect"]);
});

test("a row that reads itself or a later one is placed, and its wire is a loop", () => {
  const nodes = NODES.map((one) => (one.name === "concat" ? { ...one, inputs: ["concat", "join"] } : one));
  const { places } = layout(nodes);
  expect(places.size).toBe(NODES.length);
  const at = places.get("concat")!;
  expect(sides(at, at, places.values())).toEqual(["right", "bottom"]);
});

test("no two nodes overlap, and the way up is drawn upwards", () => {
  const { places } = layout(NODES);
  const all = [...places.values()];
  all.forEach((a, i) =>
    all.slice(i + 1).forEach((b) => expect(a.column !== b.column || Math.abs(a.y - b.y) >= NODE.height).toBe(true)),
  );
  expect(places.get("concat")!.y).toBeLessThan(places.get("up")!.y);
  expect(places.get("join")!.y).toBeGreaterThan(places.get("down")!.y);
});

test("a wire goes around the nodes that it passes in its column", () => {
  const { places } = layout(NODES);
  const at = (name: string) => places.get(name)!;
  const all = [...places.values()];
  expect(sides(at("p4"), at("p4.se"), all)).toEqual(["bottom", "top"]);
  expect(sides(at("stem"), at("p4"), all)).toEqual(["right", "right"]);
  expect(sides(at("p3"), at("concat"), all)).toEqual(["right", "left"]);
});

test("nodes without known strides lie with what they read", () => {
  const { bands } = layout(NODES.map((one) => ({ ...one, level: null })));
  expect(bands.map((band) => band.level)).toEqual([0]);
});
