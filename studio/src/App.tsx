import { useCallback, useContext, useEffect, useMemo, useRef, useState } from "react";
import { Data } from "./Data";
import { OpenDialog, SaveDialog } from "./Dialogs";
import { Findings } from "./Findings";
import { CompareModels } from "./CompareModels";
import { type Fields, Graph, type Metric } from "./Graph";
import { Inspector } from "./Inspector";
import { Look } from "./Look";
import { Runs } from "./Runs";
import { get, post, ServerFault } from "./server";
import { firstTheme, LanguageContext, type Theme, useWords } from "./settings";
import type { Step } from "./steps";
import { Totals } from "./Totals";
import { Tutorial } from "./Tutorial";
import type { EditQuestion, Fault, Opened, Predicted, Timed } from "./types";
import type { Language } from "./words";
import { Yaml } from "./Yaml";

const TABS = ["layer", "yaml", "look", "dataTab", "runs", "tutorial"] as const;
type Tab = (typeof TABS)[number];
const METRICS: Metric[] = ["flops", "parameters", "memory", "time", "receptive", "none"];

export function App({ language, setLanguage }: { language: Language; setLanguage: (language: Language) => void }) {
  const words = useWords();
  const [theme, setTheme] = useState<Theme>(firstTheme);
  const studio = useStudio();
  const { opened, fault, busy } = studio;
  const [selected, setSelected] = useState<string | null>(null);
  const [tab, setTab] = useState<Tab>("layer");
  const [search, setSearch] = useState("");
  const [metric, setMetric] = useState<Metric>("flops");
  const [dialog, setDialog] = useState<"open" | "save" | "compare" | null>(null);
  const fields = useFields(metric === "receptive", studio.version, studio.fail);
  const dark = useTheme(theme);

  const select = useCallback((name: string | null) => {
    setSelected(name);
    if (name) setTab((now) => (now === "yaml" ? "layer" : now));
  }, []);
  const edit = async (question: EditQuestion, from = opened) => {
    const before = new Set(from?.diagram.nodes.map((node) => node.name));
    const after = await studio.change("edit", question);
    const fresh = after?.diagram.nodes.find((node) => !before.has(node.name));
    if (fresh) setSelected(fresh.name);
  };
  const take = async ({ source, text, edit: question }: Step) => {
    if (text !== undefined) return studio.change("open-text", { text, name: source });
    const isOpen = opened?.source === source && opened.edits.length === 0;
    const base = isOpen ? opened : await studio.change("open", { source });
    return base && question ? edit(question, base) : null;
  };
  const openFile = async (file: File) => {
    setDialog(null);
    if (file.type.startsWith("image/")) return;
    await studio.change("open-text", { text: await file.text(), name: file.name });
  };
  useKeys(studio);
  const fresh = useMemo(() => new Set(opened ? freshOf(opened) : []), [opened]);
  const node = opened?.diagram.nodes.find((one) => one.name === selected) ?? null;

  return (
      <div
        className="app"
        onDragOver={(event) => event.preventDefault()}
        onDrop={(event) => {
          event.preventDefault();
          const file = event.dataTransfer.files[0];
          if (file) void openFile(file);
        }}
      >
        <header>
          <h1>{words("title")}</h1>
          <span className="source">{opened?.source}</span>
          <div className="row">
            <button onClick={() => setDialog("open")}>{words("open")}</button>
            <button disabled={!opened?.undo || busy} onClick={() => void studio.change("undo")}>
              {words("undo")}
            </button>
            <button disabled={!opened?.redo || busy} onClick={() => void studio.change("redo")}>
              {words("redo")}
            </button>
            <button disabled={!opened?.difference} onClick={() => setDialog("save")}>
              {words("save")}
            </button>
            <button onClick={() => setDialog("compare")}>{words("compareModels")}</button>
          </div>
          <input
            type="search"
            value={search}
            aria-label={words("search")}
            placeholder={words("search")}
            onChange={(event) => setSearch(event.target.value)}
          />
          <Choice label={words("colour")} value={metric} values={METRICS} text={(one) => words(`colour.${one}`)} set={setMetric} />
          <Choice label={words("theme")} value={theme} values={["system", "light", "dark"]} text={(one) => words(one)} set={setTheme} />
          <Choice
            label={words("language")}
            value={language}
            values={["en", "zh"]}
            text={(one) => (one === "en" ? "English" : "繁體中文")}
            set={setLanguage}
          />
        </header>
        <Message fault={fault} saved={studio.saved} busy={busy} dismiss={studio.dismiss} />
        <main>
          <div className="left">
            {opened && <Totals opened={opened} {...studio.timing} />}
            {opened && (
              <Graph
                nodes={opened.diagram.nodes}
                findings={opened.findings}
                timed={studio.timing.timed}
                fields={fields}
                {...{ fresh, metric, selected, search, dark, select }}
              />
            )}
          </div>
          <div className="right">
            {opened && (
              <Findings opened={opened} busy={busy} select={select} correct={(lines) => void studio.change("correct", { lines })} />
            )}
            <div role="tablist" aria-label={words("panels")}>
              {TABS.map((one) => (
                <button key={one} role="tab" id={`tab-${one}`} aria-selected={tab === one} aria-controls={`panel-${one}`} onClick={() => setTab(one)}>
                  {words(one)}
                </button>
              ))}
            </div>
            {opened && (
              <>
                <Panel name="layer" tab={tab}>
                  <Inspector nodes={opened.diagram.nodes} {...{ node, busy, select }} version={studio.version} edit={(question) => void edit(question)} />
                </Panel>
                <Panel name="yaml" tab={tab}>
                  <Yaml opened={opened} />
                </Panel>
                <Panel name="look" tab={tab}>
                  <Look nodes={opened.diagram.nodes} edited={opened.edits.length > 0} version={studio.version} selected={selected} fail={studio.fail} />
                </Panel>
                <Panel name="dataTab" tab={tab}>
                  <Data imgsz={opened.diagram.imgsz || 640} trainable={opened.difference !== null} fail={studio.fail} />
                </Panel>
                <Panel name="runs" tab={tab}>
                  <Runs {...{ opened, dark }} stem={stemOf(opened)} fail={studio.fail} />
                </Panel>
                <Panel name="tutorial" tab={tab}>
                  <Tutorial busy={busy} take={(step) => void take(step)} />
                </Panel>
              </>
            )}
          </div>
        </main>
        {dialog === "open" && (
          <OpenDialog
            close={() => setDialog(null)}
            open={(source) => {
              setDialog(null);
              void studio.change("open", { source });
            }}
            openFile={(file) => void openFile(file)}
            fail={studio.fail}
          />
        )}
        {dialog === "compare" && opened && <CompareModels {...{ opened, dark }} close={() => setDialog(null)} />}
        {dialog === "save" && opened && (
          <SaveDialog
            close={() => setDialog(null)}
            stem={stemOf(opened)}
            done={(path) => {
              setDialog(null);
              studio.setSaved(path);
            }}
            fail={(error) => {
              setDialog(null);
              studio.fail(error);
            }}
          />
        )}
      </div>
  );
}

function Panel({ name, tab, children }: { name: Tab; tab: Tab; children: React.ReactNode }) {
  return (
    <div role="tabpanel" id={`panel-${name}`} aria-labelledby={`tab-${name}`} hidden={tab !== name} tabIndex={0}>
      {tab === name && children}
    </div>
  );
}

interface ChoiceProps<T extends string> {
  label: string;
  value: T;
  values: T[];
  text: (value: T) => string;
  set: (value: T) => void;
}

function Choice<T extends string>({ label, value, values, text, set }: ChoiceProps<T>) {
  return (
    <label className="choice">
      {label}
      <select value={value} onChange={(event) => set(event.target.value as T)}>
        {values.map((one) => (
          <option key={one} value={one}>
            {text(one)}
          </option>
        ))}
      </select>
    </label>
  );
}

interface MessageProps {
  fault: Fault | null;
  saved: string;
  busy: boolean;
  dismiss: () => void;
}

function Message({ fault, saved, busy, dismiss }: MessageProps) {
  const words = useWords();
  return (
    <div className="messages" aria-live="polite">
      {fault && (
        <p className="fault" role="alert">
          <strong>{words("fault")}:</strong> {fault.line ? `${words("line")} ${fault.line}: ` : ""}
          {fault.what === "unreachable" ? words("unreachable") : fault.what}
          {fault.expected && <span> — {words("expected", { what: fault.expected })}</span>}
          {fault.hint && <span> — {fault.hint}</span>} <button onClick={dismiss}>{words("dismiss")}</button>
        </p>
      )}
      {saved && !fault && (
        <p className="saved">
          {words("saved", { path: saved })} <button onClick={dismiss}>{words("dismiss")}</button>
        </p>
      )}
      {busy && <p className="busy">{words("working")}</p>}
    </div>
  );
}

/** A name for what is made of the open model. */
function stemOf(opened: Opened): string {
  const name = opened.source.split(/[\\/]/).pop()!.replace(/\.\w+$/, "");
  return opened.edits.length ? `${name}-edited` : name;
}

/** The names of layers that the base does not have. */
function freshOf(opened: Opened): string[] {
  return (opened.integers?.after ?? []).filter((line) => line.change === "new").map((line) => line.name);
}

function useTheme(theme: Theme): boolean {
  const [system, setSystem] = useState(() => matchMedia("(prefers-color-scheme: dark)").matches);
  const dark = theme === "dark" || (theme === "system" && system);
  useEffect(() => {
    const media = matchMedia("(prefers-color-scheme: dark)");
    const listen = () => setSystem(media.matches);
    media.addEventListener("change", listen);
    return () => media.removeEventListener("change", listen);
  }, []);
  useEffect(() => {
    localStorage.setItem("regard-theme", theme);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  }, [theme, dark]);
  return dark;
}

/** The predicted latency, asked for when the model has not changed for a moment; the first time, the base is measured. */
function usePredicted(version: number): Predicted | null {
  const [predicted, setPredicted] = useState<Predicted | null>(null);
  useEffect(() => {
    setPredicted(null);
    if (!version) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      get<Predicted>("latency", stop.signal).then(setPredicted, () => undefined);
    }, 600);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [version]);
  return predicted;
}

/** Receptive fields of the open model, measured when they are asked for. */
function useFields(wanted: boolean, version: number, fail: (error: unknown) => void): Fields | null {
  const [fields, setFields] = useState<Fields | null>(null);
  useEffect(() => {
    setFields(null);
    if (!wanted) return;
    const stop = new AbortController();
    get<Fields>("receptive", stop.signal).then(setFields, (error) => stop.signal.aborted || fail(error));
    return () => stop.abort();
  }, [wanted, version, fail]);
  return fields;
}

type Studio = ReturnType<typeof useStudio>;

function useKeys(studio: Studio): void {
  const last = useRef(studio);
  last.current = studio;
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const inField = event.target instanceof HTMLElement && event.target.matches("input, textarea, select");
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || inField) return;
      event.preventDefault();
      const { opened, change } = last.current;
      if (event.shiftKey ? opened?.redo : opened?.undo) void change(event.shiftKey ? "redo" : "undo");
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
}

/** The open model, and the requests that change it. */
function useStudio() {
  const [opened, setOpened] = useState<Opened | null>(null);
  const [version, setVersion] = useState(0);
  const [fault, setFault] = useState<Fault | null>(null);
  const [saved, setSaved] = useState("");
  const [busy, setBusy] = useState(false);
  const [timed, setTimed] = useState<Timed | null>(null);
  const [measuring, setMeasuring] = useState(false);

  const fail = useCallback((error: unknown) => {
    const none = { file: null, line: null, expected: null, hint: null };
    setFault(error instanceof ServerFault ? error.fault : { ...none, what: String(error) });
  }, []);
  const dismiss = useCallback(() => {
    setFault(null);
    setSaved("");
  }, []);
  const take = useCallback((found: Opened) => {
    setOpened(found);
    setTimed(null);
    setVersion((now) => now + 1);
  }, []);
  const change = useCallback(
    async (path: string, question: unknown = {}): Promise<Opened | null> => {
      setBusy(true);
      dismiss();
      try {
        const found = await post<Opened>(path, question);
        take(found);
        return found;
      } catch (error) {
        fail(error);
        return null;
      } finally {
        setBusy(false);
      }
    },
    [dismiss, fail, take],
  );
  const measure = useCallback(() => {
    setMeasuring(true);
    post<Timed>("cost").then(setTimed, fail).finally(() => setMeasuring(false));
  }, [fail]);
  const language = useContext(LanguageContext);
  useEffect(() => void get<Opened>("state").then(take, fail), [take, fail, language]);
  const predicted = usePredicted(opened?.difference && opened.edits.length ? version : 0);
  const timing = { timed, measuring, measure, predicted };
  return { opened, version, fault, saved, setSaved, busy, fail, dismiss, change, timing };
}
