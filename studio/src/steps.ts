import type { EditQuestion } from "./types";

/** A step of the tutorial that the page can make: an edit of a model, or a model file that is opened. */
export interface Step {
  source: string;
  /** The text of the file, where the step opens one. */
  text?: string;
  edit?: EditQuestion;
}

const INSERT = /^regard insert (\S+) (\w+) (.*)$/m;
const NAME = /^# (\S+\.ya?ml)$/m;

/** The step that a block of code describes; null where it is none that the page can make. */
export function stepOf(language: string, code: string): Step | null {
  const name = NAME.exec(code)?.[1];
  if (language === "yaml" && name && code.includes("backbone:")) return { source: name, text: code };
  const found = language === "sh" ? INSERT.exec(code.replace(/\\\n\s*/g, " ")) : null;
  if (!found || found[3]!.includes("--module")) return null;
  const words = found[3]!.split(/\s+/);
  const after = words[words.indexOf("--after") + 1];
  if (!words.includes("--after") || !after) return null;
  const given = words.flatMap((word, i) => (["-a", "--arg"].includes(words[i - 1] ?? "") ? [word.split("=", 2)] : []));
  const options = Object.fromEntries(given.map(([key, value]) => [key, value ?? ""]));
  const edit: EditQuestion = { kind: "insert", layer: after, module: found[2]!, options, gate: !words.includes("--no-gate") };
  return { source: found[1]!, edit };
}
