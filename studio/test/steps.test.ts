// @ts-expect-error The types of Node are not among the packages.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { stepOf } from "../src/steps";

test("an insertion is read from its command", () => {
  expect(stepOf("sh", "regard insert a.pt SE \\\n  --after sppf --no-gate --arg reduction=8 -o b.yaml\nregard cost b.yaml")).toEqual({
    source: "a.pt",
    edit: { kind: "insert", layer: "sppf", module: "SE", options: { reduction: "8" }, gate: false },
  });
  expect(stepOf("sh", "regard insert a.pt My --module my.py:My --after p4")).toBeNull();
  expect(stepOf("sh", "regard summary a.pt")).toBeNull();
  expect(stepOf("python", "# regard insert a.pt SE --after p4")).toBeNull();
});

test("both languages have the same steps", () => {
  const steps = ["en", "zh"].map((language) => {
    const chapters = JSON.parse(readFileSync(`public/tutorial/${language}.json`, "utf8")) as {
      parts: { language?: string; code?: string }[];
    }[];
    return chapters.map((chapter) =>
      chapter.parts.flatMap((part) => stepOf(part.language ?? "", part.code ?? "") ?? []).map((step) => step.edit ?? step.source),
    );
  });
  expect(steps[1]).toEqual(steps[0]);
  expect(steps[0]!.flat().length).toBeGreaterThan(3);
});
