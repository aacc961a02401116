import { useEffect, useRef, useState } from "react";
import { get, shown, TokenFault } from "./server";
import type { useWords } from "./settings";
import type { Opened } from "./types";

/** Whether the studio answers, is silent, or is of a later start, which has another token. */
export type Contact = "answers" | "silent" | "renewed";

/** Milliseconds between two questions whether the studio answers, and until one counts as not answered. */
const PERIOD = 2000;
const PATIENCE = 10_000;

/** What changes the model; one at a time. */
const CHANGES = ["edit", "undo", "redo", "open", "open-text", "correct", "weights"];

/**
 * Ask every few seconds whether the studio answers and which model it has open, so that a page shows what another one
 * has made of it, and does not show for the present what was true when the studio ended.
 */
export function useContact(
  changing: React.RefObject<Promise<unknown>>,
  take: (found: Opened) => void,
  words: ReturnType<typeof useWords>,
  setNotice: (text: string) => void,
): Contact {
  const [contact, setContact] = useState<Contact>("answers");
  const last = useRef({ take, words, setNotice });
  last.current = { take, words, setNotice };
  useEffect(() => {
    const refresh = async (asked: number | null, path = ""): Promise<boolean> => {
      if (!CHANGES.includes(path)) await changing.current; // a change of this page may be on its way
      if (asked !== shown.version) return true;
      const found = await get<Opened>("state");
      if (asked !== shown.version || found.version === asked) return true;
      const { take, words, setNotice } = last.current;
      take(found);
      if (asked !== null) setNotice(words("changedElsewhere") + (path ? ` ${words("notDone")}` : ""));
      return false;
    };
    shown.stale = (asked, path) => refresh(asked, path).catch(() => false);
    const look = async () => {
      const asked = shown.version;
      let version: unknown;
      try {
        version = await get<unknown>("version", AbortSignal.timeout(PATIENCE));
      } catch (error) {
        if (!(error instanceof TokenFault)) return setContact("silent");
        return setContact(asked === null ? "answers" : "renewed"); // a page that never had a token says so
      }
      if (typeof version !== "number") return setContact("silent"); // another program has the address now
      setContact("answers");
      if (version !== asked) await refresh(asked).catch(() => undefined);
    };
    let timer = 0;
    let ended = false;
    const go = async () => {
      clearTimeout(timer);
      await look();
      clearTimeout(timer);
      if (!ended) timer = window.setTimeout(go, PERIOD);
    };
    const front = () => document.visibilityState !== "hidden" && void go();
    shown.lost = front;
    timer = window.setTimeout(go, PERIOD);
    window.addEventListener("focus", front);
    document.addEventListener("visibilitychange", front);
    return () => {
      ended = true;
      clearTimeout(timer);
      window.removeEventListener("focus", front);
      document.removeEventListener("visibilitychange", front);
    };
  }, [changing]);
  return contact;
}
