import { useEffect, useState } from "react";
import { Field } from "./Field";
import { get, post } from "./server";
import { useWords } from "./settings";
import type { Files, FormField, Opened, Started } from "./types";

/** The settings that are shown first; the others follow behind a summary. */
const FIRST = {
  train: ["epochs", "imgsz", "batch", "seed"],
  study: ["insert", "replace", "model", "seeds", "epochs", "imgsz", "batch"],
};

interface Props {
  kind: "train" | "study";
  opened: Opened;
  stem: string;
  started: (name: string) => void;
  fail: (error: unknown) => void;
}

/** A form that starts a training or a study of the open model, with all settings of its command. */
export function Start(props: Props) {
  const words = useWords();
  const [open, setOpen] = useState(false);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{words(`start.${props.kind}`)}</summary>
      {open && <Form {...props} />}
    </details>
  );
}

function Form({ kind, opened, stem, started, fail }: Props) {
  const words = useWords();
  const [fields, setFields] = useState<FormField[]>([]);
  const [data, setData] = useState("");
  const [name, setName] = useState(kind === "study" ? `study-${stem}` : stem);
  const [base, setBase] = useState("");
  const { insert, replace } = opened.recipe;
  const [values, setValues] = useState<Record<string, unknown>>(kind === "study" ? { insert, replace } : {});
  useEffect(() => void get<FormField[]>(`settings/${kind}`).then(setFields).catch(fail), [kind, fail, words]);
  useEffect(() => void get<Files>("files").then((files) => setData((now) => now || (files.data ?? ""))).catch(fail), [fail]);
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    const question = { name, data, settings: values, ...(kind === "study" ? { base } : {}) };
    post<Started>(kind, question).then(({ path }) => started(path), fail);
  };
  const shown = (one: FormField) => (
    <Field
      key={one.name}
      facts={one}
      value={values[one.name]}
      set={(value) => setValues(({ [one.name]: _, ...rest }) => (value === undefined ? rest : { ...rest, [one.name]: value }))}
    />
  );
  const first = FIRST[kind].flatMap((one) => fields.filter((field) => field.name === one));
  return (
    <form onSubmit={submit} className="module">
      {kind === "study" && <p className="hint">{words("studyHint")}</p>}
      <label className="field">
        {words("folder")} <input value={name} required onChange={(event) => setName(event.target.value)} />
      </label>
      {kind === "study" && (
        <label className="field">
          {words("base")}
          <input value={base} placeholder={opened.source} onChange={(event) => setBase(event.target.value)} />
        </label>
      )}
      <label className="field">
        {words("data")} <input value={data} required placeholder="synthetic:context" onChange={(event) => setData(event.target.value)} />
      </label>
      {first.map(shown)}
      <details>
        <summary>{words("allSettings", { n: fields.length })}</summary>
        {fields.filter((one) => !first.includes(one)).map(shown)}
      </details>
      <button type="submit" className="primary">
        {words(`start.${kind}`)}
      </button>
    </form>
  );
}
