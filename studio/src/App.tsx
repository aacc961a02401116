import { useCallback, useContext, useEffect, useMemo, useState } from "react";
import { Data } from "./Data";
import { LoseDialog, OpenDialog, SaveDialog } from "./Dialogs";
import { faultText } from "./faults";
import { isGraph, isPicture } from "./Film";
import { Findings } from "./Findings";
import { CompareModels } from "./CompareModels";
import { Graph, matches, type Metric } from "./Graph";
import { Inspector } from "./Inspector";
import { keep } from "./kept";
import { Look } from "./Look";
import { Runs } from "./Runs";
import { ServerFault } from "./server";
import { firstTheme, LostContext, type Theme, useWords } from "./settings";
import type { Step } from "./steps";
import { Totals } from "./Totals";
import { Tutorial } from "./Tutorial";
import type { EditQuestion, Fault, Opened } from "./types";
import { useFields, useKeys, useStudio } from "./useStudio";
import type { Language } from "./words";
import { WeightsDialog } from "./Weights";
import { Yaml } from "./Yaml";

const TABS = ["layer", "yaml", "look", "dataTab", "runs", "tutorial"] as const;
type Tab = (typeof TABS)[number];
const METRICS: Metric[] = ["flops", "parameters", "memory", "time", "receptive", "none"];

export function App({ language, setLanguage }: { language: Language; setLanguage: (language: Language) => void }) {
  const words = useWords();
  const [theme, setTheme] = useState<Theme>(firstTheme);
  const studio = useStudio();
  const { opened, fault, contact } = studio;
  const lost = contact !== "answers";
  const busy = studio.busy || lost;
  const [selected, setSelected] = useState<string | null>(null);
  const [tab, setTab] = useState<Tab>("layer");
  const [metric, setMetric] = useState<Metric>("flops");
  const [dialog, setDialog] = useState<"open" | "save" | "compare" | "weights" | null>(null);
  const fields = useFields(metric === "receptive", studio.version, studio.fail);
  const dark = useTheme(theme);

  const [dropped, setDropped] = useState<File | null>(null);
  const [losing, setLosing] = useState<(() => void) | null>(null);
  const [focus, setFocus] = useState(false);
  const focused = useCallback(() => setFocus(false), []);

  const select = useCallback((name: string | null) => {
    setSelected(name);
    if (name) setTab((now) => (now === "yaml" ? "layer" : now));
  }, []);
  const enter = useCallback((name: string) => {
    setSelected(name);
    setTab("layer");
    setFocus(true);
  }, []);
  const [refused, setRefused] = useState(false);
  useEffect(() => {
    if (!fault) setRefused(false);
  }, [fault]);
  const openBy = async (path: string, question: object) => {
    const found = await studio.change(path, question);
    setRefused(!found);
    if (found) setSelected(null);
    return found;
  };
  /** Ask before what is in no file is lost. */
  const lose = (go: () => void) => {
    setDialog(null);
    if (opened?.unsaved) setLosing(() => go);
    else go();
  };
  const edit = async (question: EditQuestion, from = opened) => {
    const before = new Set(from?.diagram.nodes.map((node) => node.name));
    const after = await studio.change("edit", question);
    const fresh = after?.diagram.nodes.find((node) => !before.has(node.name));
    if (fresh) setSelected(fresh.name);
    if (after) setFocus(true);
  };
  const take = ({ source, text, edit: question }: Step) => {
    const isOpen = text === undefined && opened?.source === source && opened.edits.length === 0;
    if (isOpen) return void (question && edit(question, opened));
    lose(async () => {
      if (text !== undefined) return void openBy("open-text", { text, name: source });
      const base = await openBy("open", { source });
      if (base && question) void edit(question, base);
    });
  };
  const openFile = (file: File) => {
    if (isPicture(file)) {
      setDialog(null);
      setTab("look");
      setDropped(file);
    } else if (!isGraph(file)) {
      setDialog(null);
      const none = { file: null, line: null, expected: null };
      studio.fail(new ServerFault({ ...none, what: words("onlyYaml", { name: file.name }), hint: words("openThere") }));
    } else lose(async () => void openBy("open-text", { text: await file.text(), name: file.name }));
  };
  const nodes = opened?.diagram.nodes;
  const { search, hits, found, ...finding } = useSearch(nodes, (name) => {
    setSelected(name);
    setTab("layer");
  });
  useKeys(studio);
  const fresh = useMemo(() => new Set(opened ? freshOf(opened) : []), [opened]);
  const node = opened?.diagram.nodes.find((one) => one.name === selected) ?? null;

  return (
    <LostContext.Provider value={lost}>
      <div
        className="app"
        onDragOver={(event) => event.preventDefault()}
        onDrop={(event) => {
          event.preventDefault();
          const file = event.dataTransfer.files[0];
          if (file) openFile(file);
        }}
      >
        <header>
          <h1>{words("title")}</h1>
          <span className="source" title={opened?.source}>{opened?.source}</span>
          <div className="row">
            <button disabled={lost} onClick={() => setDialog("open")}>{words("open")}</button>
            <button disabled={!opened?.undo || busy} onClick={() => void studio.change("undo")}>
              {words("undo")}
            </button>
            <button disabled={!opened?.redo || busy} onClick={() => void studio.change("redo")}>
              {words("redo")}
            </button>
            <button disabled={!opened?.difference || lost} onClick={() => setDialog("save")}>
              {words("save")}
            </button>
            <button disabled={lost} onClick={() => setDialog("compare")}>{words("compareModels")}</button>
          </div>
          <input type="search" value={search} aria-label={words("search")} placeholder={words("search")} aria-invalid={search !== "" && !hits} {...finding} />
          <span className="unseen" role="status">
            {search && (hits ? words("hits", { n: hits }) : words("noHit"))}
          </span>
          <Choice label={words("colour")} value={metric} values={METRICS} text={(one) => words(`colour.${one}`)} set={setMetric} />
          <Choice quiet label={words("theme")} value={theme} values={["system", "light", "dark"]} text={(one) => words(one)} set={setTheme} />
          <Choice
            quiet
            label={words("language")}
            value={language}
            values={["en", "zh"]}
            text={(one) => (one === "en" ? "English" : "繁體中文")}
            set={setLanguage}
          />
        </header>
        <Message fault={lost && fault?.what === "unreachable" ? null : fault} still={refused && opened ? opened.source : ""} notice={studio.notice} busy={studio.busy} dismiss={studio.dismiss}>
          {contact !== "answers" && (
            <p className="fault" role="alert">
              {words(`contact.${contact}`)} {words("lastKnown")}
            </p>
          )}
        </Message>
        <main>
          <div className="left">
            {opened && <Totals opened={opened} {...studio.timing} load={() => setDialog("weights")} />}
            {opened && (
              <Graph
                nodes={opened.diagram.nodes}
                findings={opened.findings}
                timed={studio.timing.timed}
                fields={fields}
                readable
                {...{ fresh, metric, selected, search, found, dark, select, enter }}
              />
            )}
          </div>
          <div className="right">
            {opened && (
              <Findings opened={opened} busy={busy} select={select} correct={(lines) => void studio.change("correct", { lines })} />
            )}
            <Tabs {...{ tab, setTab }} />
            {opened && (
              <>
                <Panel name="layer" tab={tab} live>
                  <Inspector nodes={opened.diagram.nodes} {...{ node, busy, focus, focused, select }} version={studio.version} edit={(question) => void edit(question)} />
                </Panel>
                <Panel name="yaml" tab={tab}>
                  <Yaml opened={opened} />
                </Panel>
                <Panel name="look" tab={tab} live>
                  <Look nodes={opened.diagram.nodes} trained={opened.trained} {...{ dropped, setDropped }} edited={opened.edits.length > 0} version={studio.version} selected={selected} fail={studio.fail} />
                </Panel>
                <Panel name="dataTab" tab={tab} live>
                  <Data imgsz={opened.diagram.imgsz || 640} trainable={opened.difference !== null} fail={studio.fail} />
                </Panel>
                <Panel name="runs" tab={tab} live>
                  <Runs {...{ opened, dark }} stem={stemOf(opened)} fail={studio.fail} />
                </Panel>
                <Panel name="tutorial" tab={tab} live>
                  <Tutorial busy={busy} take={take} />
                </Panel>
              </>
            )}
          </div>
        </main>
        {dialog === "open" && (
          <OpenDialog
            close={() => setDialog(null)}
            open={(source) => lose(() => void openBy("open", { source }))}
            openFile={openFile}
            fail={studio.fail}
          />
        )}
        {losing && opened && (
          <LoseDialog
            {...{ opened }}
            close={() => setLosing(null)}
            save={() => {
              setLosing(null);
              setDialog("save");
            }}
            go={() => {
              setLosing(null);
              losing();
            }}
          />
        )}
        {dialog === "weights" && opened && (
          <WeightsDialog
            {...{ opened, busy }}
            close={() => setDialog(null)}
            give={async (source) => void ((await studio.change("weights", { source })) ?? setDialog(null))}
            fail={studio.fail}
          />
        )}
        {dialog === "compare" && opened && <CompareModels {...{ opened, dark }} fail={studio.fail} close={() => setDialog(null)} />}
        {dialog === "save" && opened && (
          <SaveDialog
            close={() => setDialog(null)}
            stem={stemOf(opened)}
            done={(saved) => {
              setDialog(null);
              studio.setSaved(saved);
            }}
            fail={(error) => {
              setDialog(null);
              studio.fail(error);
            }}
          />
        )}
      </div>
    </LostContext.Provider>
  );
}

/** The search of a layer: Enter selects the first hit, then the next one, Escape clears it. */
function useSearch(nodes: Opened["diagram"]["nodes"] | undefined, select: (name: string) => void) {
  const [search, setSearch] = useState("");
  const [entered, setEntered] = useState(-1);
  const hits = (search && nodes?.filter((node) => matches(node, search))) || [];
  const write = (text: string) => {
    setSearch(text);
    setEntered(-1);
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.key === "Escape") write("");
    if (event.key !== "Enter" || !hits.length) return;
    event.preventDefault();
    const next = (entered + (event.shiftKey ? hits.length - 1 : 1)) % hits.length;
    setEntered(next);
    select(hits[next]!.name);
  };
  const onChange = (event: React.ChangeEvent<HTMLInputElement>) => write(event.target.value);
  const found = hits[Math.min(Math.max(entered, 0), hits.length - 1)]?.name ?? null;
  return { search, hits: hits.length, found, onKeyDown, onChange };
}

/** The tabs: one stop of the Tab key, and the arrow keys between them. */
function Tabs({ tab, setTab }: { tab: Tab; setTab: (tab: Tab) => void }) {
  const words = useWords();
  const press = (event: React.KeyboardEvent) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const next = TABS[(TABS.indexOf(tab) + step + TABS.length) % TABS.length]!;
    setTab(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <div role="tablist" aria-label={words("panels")} onKeyDown={press}>
      {TABS.map((one) => (
        <button
          key={one}
          role="tab"
          id={`tab-${one}`}
          tabIndex={tab === one ? 0 : -1}
          aria-selected={tab === one}
          aria-controls={`panel-${one}`}
          onClick={() => setTab(one)}
        >
          {words(one)}
        </button>
      ))}
    </div>
  );
}

/** A panel; one that needs the studio is grey and cannot be used while that does not answer. */
function Panel({ name, tab, live, children }: { name: Tab; tab: Tab; live?: boolean; children: React.ReactNode }) {
  const lost = useContext(LostContext) && live;
  return (
    <div role="tabpanel" className={lost ? "lost" : undefined} inert={lost} id={`panel-${name}`} aria-labelledby={`tab-${name}`} hidden={tab !== name} tabIndex={0}>
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
  /** Whether the label is seen on wide pages only: the values say enough. */
  quiet?: boolean;
}

function Choice<T extends string>({ label, value, values, text, set, quiet }: ChoiceProps<T>) {
  return (
    <label className={quiet ? "choice quiet" : "choice"} title={label}>
      <span>{label}</span>
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
  /** What is open, where something else could not be opened. */
  still: string;
  notice: string;
  busy: boolean;
  dismiss: () => void;
  children: React.ReactNode;
}

function Message({ fault, still, notice, busy, dismiss, children }: MessageProps) {
  const words = useWords();
  return (
    <div className="messages" aria-live="polite">
      {children}
      {fault && (
        <p className="fault" role="alert">
          <strong>{words("fault")}:</strong> {faultText(fault, words)}{" "}
          {still && <span>{words("stillOpen", { name: still })} </span>}
          <button onClick={dismiss}>{words("dismiss")}</button>
        </p>
      )}
      {notice && !fault && (
        <p className="saved">
          {notice} <button onClick={dismiss}>{words("dismiss")}</button>
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
    keep("localStorage", "regard-theme", theme);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  }, [theme, dark]);
  return dark;
}

