import { useCallback, useContext, useEffect, useRef, useState } from "react";
import type { Fields } from "./Graph";
import { get, post, ServerFault, shown, StaleFault } from "./server";
import { LanguageContext, useWords } from "./settings";
import type { Fault, Opened, Predicted, Saved, Timed } from "./types";
import { useContact } from "./useContact";

/**
 * The predicted latency, asked for when the model has not changed for a moment, and after a measurement, which measures
 * the base anew; the first time, the base is measured for it.
 */
export function usePredicted(version: number, timed: Timed | null): Predicted | null {
  const [predicted, setPredicted] = useState<Predicted | null>(null);
  useEffect(() => setPredicted(null), [version]);
  useEffect(() => {
    if (!version) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      get<Predicted>("latency", stop.signal).then(setPredicted, () => undefined);
    }, 600);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [version, timed]);
  return predicted;
}

/** Receptive fields of the open model, measured when they are asked for. */
export function useFields(wanted: boolean, version: number, fail: (error: unknown) => void): Fields | null {
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

export type Studio = ReturnType<typeof useStudio>;

export function useKeys(studio: Studio): void {
  const last = useRef(studio);
  last.current = studio;
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const inField = event.target instanceof HTMLElement && event.target.matches("input, textarea, select");
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || inField) return;
      event.preventDefault();
      const { opened, busy, change } = last.current;
      if (busy) return;
      if (event.shiftKey ? opened?.redo : opened?.undo) void change(event.shiftKey ? "redo" : "undo");
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
}

/** The open model, and the requests that change it. */
export function useStudio() {
  const [opened, setOpened] = useState<Opened | null>(null);
  const [version, setVersion] = useState(0);
  const [fault, setFault] = useState<Fault | null>(null);
  const [notice, setNotice] = useState("");
  const changing = useRef<Promise<unknown>>(Promise.resolve());
  const [busy, setBusy] = useState(false);
  const [timed, setTimed] = useState<Timed | null>(null);
  const [measuring, setMeasuring] = useState(false);

  const fail = useCallback((error: unknown) => {
    if (error instanceof StaleFault) return;
    if (error instanceof DOMException && error.name === "AbortError") return;
    if (error instanceof ServerFault && error.fault.what === "unreachable") shown.lost();
    const none = { file: null, line: null, expected: null, hint: null };
    setFault(error instanceof ServerFault ? error.fault : { ...none, what: String(error) });
  }, []);
  const dismiss = useCallback(() => {
    setFault(null);
    setNotice("");
  }, []);
  const take = useCallback((found: Opened) => {
    shown.version = found.version;
    setOpened(found);
    setTimed(null);
    setVersion((now) => now + 1);
  }, []);
  const change = useCallback(
    async (path: string, question: unknown = {}): Promise<Opened | null> => {
      setBusy(true);
      dismiss();
      const answer = post<Opened>(path, question);
      changing.current = answer.catch(() => undefined);
      try {
        const found = await answer;
        take(found);
        setNotice(found.warnings.join(" "));
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
    const asked = shown.version;
    const failed = async (error: unknown) => {
      await changing.current; // an edit interrupts it, which is no error
      if (asked === shown.version) fail(error);
    };
    post<Timed>("cost")
      .then((found) => asked === shown.version && setTimed(found), failed)
      .finally(() => setMeasuring(false));
  }, [fail]);
  const words = useWords();
  const language = useContext(LanguageContext);
  const setSaved = useCallback(
    ({ path, unsaved }: Saved) => {
      setOpened((now) => now && { ...now, unsaved });
      setNotice(words("saved", { path }));
    },
    [words],
  );
  useEffect(() => void get<Opened>("state").then(take, fail), [take, fail, language]);
  useEffect(() => {
    shown.succeeded = () => setFault(null);
  }, []);
  const contact = useContact(changing, take, words, setNotice);
  useEffect(() => {
    if (contact === "answers") setFault((now) => (now?.what === "unreachable" ? null : now));
  }, [contact]);
  const predicted = usePredicted(opened?.difference && opened.edits.length ? version : 0, timed);
  const timing = { timed, measuring, measure, predicted };
  return { opened, version, fault, notice, setSaved, busy, fail, dismiss, change, timing, contact };
}
