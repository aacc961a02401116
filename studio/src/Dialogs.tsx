import { useEffect, useRef, useState } from "react";
import { get, post } from "./server";
import { useWords } from "./settings";
import type { Files, Opened, SaveQuestion, Saved } from "./types";

interface DialogProps {
  title: string;
  close: () => void;
  wide?: boolean;
  children: React.ReactNode;
}

export function Dialog({ title, close, wide, children }: DialogProps) {
  const words = useWords();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => {
      // the element that had the focus, as the browser does where a dialog is closed and not removed
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);
  return (
    <dialog ref={dialog} className={wide ? "wide" : ""} onClose={close} aria-label={title}>
      <h2 className="with-button">
        {title}
        <button onClick={close}>{words("close")}</button>
      </h2>
      {children}
    </dialog>
  );
}

interface OpenProps {
  close: () => void;
  open: (source: string) => void;
  openFile: (file: File) => void;
  fail: (error: unknown) => void;
}

export function OpenDialog({ close, open, openFile, fail }: OpenProps) {
  const words = useWords();
  const [files, setFiles] = useState<Files | null>(null);
  useEffect(() => void get<Files>("files").then(setFiles).catch(fail), [fail]);
  const list = (title: string, names: string[]) =>
    names.length > 0 && (
      <section>
        <h3>{title}</h3>
        <ul className="choices">
          {names.map((name) => (
            <li key={name}>
              <button onClick={() => open(name)}>{name}</button>
            </li>
          ))}
        </ul>
      </section>
    );
  return (
    <Dialog title={words("openModel")} close={close}>
      <p>{words("openHint")}</p>
      <label className="file">
        {words("chooseFile")}{" "}
        <input
          type="file"
          accept=".yaml,.yml"
          onChange={(event) => event.target.files?.[0] && openFile(event.target.files[0])}
        />
      </label>
      {list(words("workspace"), files?.models ?? [])}
      {list(words("zoo"), files?.zoo ?? [])}
    </Dialog>
  );
}

interface LoseProps {
  opened: Opened;
  close: () => void;
  save: () => void;
  go: () => void;
}

/** What happens to edits that are in no file when another model is opened. */
export function LoseDialog({ opened, close, save, go }: LoseProps) {
  const words = useWords();
  return (
    <Dialog title={words("loseTitle", { name: opened.source })} close={close}>
      <p>{words("loseText")}</p>
      <div className="row">
        <button className="primary" onClick={save} disabled={!opened.difference}>
          {words("saveFirst")}
        </button>
        <button onClick={go}>{words("openAnyway")}</button>
        <button onClick={close}>{words("cancel")}</button>
      </div>
    </Dialog>
  );
}

const FORMS = ["safetensors", "yaml", "integers", "overlay"] as const;

export function SaveDialog({ close, stem, done, fail }: { close: () => void; stem: string; done: (saved: Saved) => void; fail: (error: unknown) => void }) {
  const words = useWords();
  const [form, setForm] = useState<SaveQuestion["form"]>("safetensors");
  const [name, setName] = useState(stem);
  const [overwrite, setOverwrite] = useState(false);
  const [ungated, setUngated] = useState(false);
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    post<Saved>("save", { form, name, overwrite, ungated }).then(done, fail);
  };
  return (
    <Dialog title={words("saveAs")} close={close}>
      <form onSubmit={submit}>
        <fieldset>
          <legend>{words("form")}</legend>
          {FORMS.map((one) => (
            <label className="check" key={one}>
              <input type="radio" name="form" checked={form === one} onChange={() => setForm(one)} />
              {words(`form.${one}`)}
            </label>
          ))}
        </fieldset>
        <label>
          {words("name")} <input value={name} required onChange={(event) => setName(event.target.value)} />
        </label>
        <label className="check">
          <input type="checkbox" checked={overwrite} onChange={(event) => setOverwrite(event.target.checked)} />
          {words("overwrite")}
        </label>
        {form === "integers" && (
          <label className="check">
            <input type="checkbox" checked={ungated} onChange={(event) => setUngated(event.target.checked)} />
            {words("ungated")}
          </label>
        )}
        <button type="submit" className="primary">
          {words("save")}
        </button>
      </form>
    </Dialog>
  );
}
