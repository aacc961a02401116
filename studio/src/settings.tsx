import { createContext, useCallback, useContext } from "react";
import { kept } from "./kept";
import { dictionaries, filled, type Language, type Word } from "./words";

export type Theme = "system" | "light" | "dark";

export const LanguageContext = createContext<Language>("en");

/** Whether the studio does not answer, so that what is shown is its last known state. */
export const LostContext = createContext(false);

/** A function that gives a text in the chosen language. */
export function useWords(): (word: Word, values?: Record<string, string | number>) => string {
  const language = useContext(LanguageContext);
  return useCallback((word, values = {}) => filled(dictionaries[language][word], values), [language]);
}

export function firstLanguage(): Language {
  const last = kept("localStorage", "regard-language");
  if (last === "en" || last === "zh") return last;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export function firstTheme(): Theme {
  const last = kept("localStorage", "regard-theme");
  return last === "light" || last === "dark" ? last : "system";
}
