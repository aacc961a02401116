import type { Fault } from "./types";
import type { useWords } from "./settings";

/** An error in one line: where it is, as far as that is known, what it is, and what to do. */
export function faultText({ file, line, what, expected, hint }: Fault, words: ReturnType<typeof useWords>): string {
  const place = [file, line ? `${words("line")} ${line}` : ""].filter(Boolean).map((part) => `${part}: `).join("");
  const text = what === "unreachable" ? words("unreachable") : what;
  return [place + text, expected && words("expected", { what: expected }), hint].filter(Boolean).join(" — ");
}
