import { expect, test } from "vitest";
import { faultText } from "../src/faults";
import { en, familyName, filled, type Word, zh } from "../src/words";

const words = (word: Word, values: Record<string, string | number> = {}) => filled(en[word], values);

test("an error is shown with its file, line, what was expected and what to do", () => {
  const fault = { what: "no", file: "runs/two/a.yaml", line: 7, expected: "yes", hint: "say it" };
  expect(faultText(fault, words)).toBe("runs/two/a.yaml: Line 7: no — expected: yes — say it");
  expect(faultText({ what: "no", file: null, line: null, expected: null, hint: null }, words)).toBe("no");
});

test("a studio that does not answer is described in words", () => {
  const fault = { what: "unreachable", file: null, line: null, expected: null, hint: null };
  expect(faultText(fault, words)).toBe(en.unreachable);
});

test("families have a name in both languages, unknown ones their own", () => {
  expect(familyName("low-rank", (word) => zh[word])).toBe("低秩（low-rank）");
  expect(familyName("something", (word) => zh[word])).toBe("something");
});
