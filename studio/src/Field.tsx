import { useId } from "react";
import { useWords } from "./settings";

/** What a field of a form needs to know: an argument of a module, or a setting. */
export interface FieldFacts {
  name: string;
  kind: "integer" | "number" | "flag" | "choice" | "text" | "list" | "lines";
  default: unknown;
  choices: string[];
  help: string;
  low?: number | null;
  high?: number | null;
  required?: boolean;
}

interface Props {
  facts: FieldFacts;
  value: unknown;
  /** Called with undefined where the default is to be taken. */
  set: (value: unknown) => void;
  /** What is wrong with the value. */
  fault?: string;
}

export function Field({ facts, value, set, fault }: Props) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{facts.name}</label>
      <Control {...{ id, facts, value, set, fault }} />
      {fault && (
        <small className="fault" id={`${id}-fault`} role="alert">
          {fault}
        </small>
      )}
      {facts.help && <small id={`${id}-help`}>{facts.help}</small>}
    </div>
  );
}

function Control({ id, facts, value, set, fault }: Props & { id: string }) {
  const words = useWords();
  const { kind, choices } = facts;
  const notes = [fault && `${id}-fault`, facts.help && `${id}-help`].filter(Boolean).join(" ");
  const described = { id, "aria-describedby": notes || undefined, "aria-invalid": fault ? true : undefined };
  const initial = facts.default === null || facts.default === "" ? "" : String(facts.default);
  const placeholder = initial && words("default", { value: initial });
  const text = String(value ?? "");
  if (kind === "flag") {
    const on = facts.default === true || facts.default === "True";
    return (
      <input
        {...described}
        type="checkbox"
        checked={Boolean(value ?? on)}
        onChange={({ target }) => set(target.checked === on ? undefined : target.checked)}
      />
    );
  }
  if (kind === "choice") {
    return (
      <select {...described} value={text || initial} onChange={({ target }) => set(target.value === initial ? undefined : target.value)}>
        {choices.map((one) => (
          <option key={one}>{one}</option>
        ))}
      </select>
    );
  }
  if (kind === "lines") {
    return <textarea {...described} rows={2} value={text} onChange={({ target }) => set(target.value || undefined)} />;
  }
  const number = kind === "integer" || kind === "number";
  return (
    <input
      {...described}
      type={number ? "number" : "text"}
      step={kind === "integer" ? 1 : "any"}
      min={facts.low ?? undefined}
      max={facts.high ?? undefined}
      required={facts.required}
      value={text}
      placeholder={placeholder}
      onChange={({ target }) => set(target.value === "" ? undefined : number ? Number(target.value) : target.value)}
    />
  );
}
