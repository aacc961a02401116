import { expect, test } from "vitest";
import { dictionaries, en, filled, zh, type Word } from "../src/words";

const places = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(String).sort();

test("both languages have every text, with the same places", () => {
  expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
  for (const word of Object.keys(en) as Word[]) {
    expect(zh[word].trim(), word).not.toBe("");
    expect(en[word].trim(), word).not.toBe("");
    expect(places(zh[word]), word).toEqual(places(en[word]));
  }
});

test("texts of sentences are translated", () => {
  const same = (Object.keys(en) as Word[]).filter((word) => en[word].includes(" ") && en[word] === zh[word]);
  expect(same).toEqual([]);
});

test("values replace their places", () => {
  expect(filled(dictionaries.en.nOfN, { n: 3, m: 7 })).toBe("3 of 7 tensors");
  expect(filled("{a} {b}", { a: "$&" })).toBe("$& {b}");
});
