import { zh } from "./chinese";
import { en } from "./english";

/** The texts of the page in both languages; the types require the same keys in both, a test that none is empty. */
export { en, zh };

export type Word = keyof typeof en;
export type Dictionary = Record<Word, string>;

export type Language = "en" | "zh";
export const dictionaries: Record<Language, Dictionary> = { en, zh };

/** Put values into the places of a text, such as {n}. */
export function filled(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (whole, key: string) => String(values[key] ?? whole));
}

/** The name of a family of attention modules; one that has no translation as it is. */
export function familyName(family: string, words: (word: Word) => string): string {
  const word = `family.${family}`;
  return word in en ? words(word as Word) : family;
}
