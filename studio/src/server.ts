import { keep, kept } from "./kept";
import type { Fault } from "./types";

const KEPT = "regard-token";

/** The token of the address; it is kept for reloads of this tab and, where that is possible, removed from the address. */
export function takeToken(): string {
  const address = new URL(window.location.href);
  const token = address.searchParams.get("token");
  if (token && keep("sessionStorage", KEPT, token)) {
    address.searchParams.delete("token");
    window.history.replaceState(null, "", address.pathname + address.search);
  }
  return token ?? kept("sessionStorage", KEPT) ?? "";
}

/** An error that the server describes, in its parts. */
export class ServerFault extends Error {
  constructor(readonly fault: Fault) {
    super(fault.what);
  }
}

const unreachable = () => new ServerFault({ what: "unreachable", file: null, line: null, expected: null, hint: null });

/** Another page has changed the model about which this one asked; it is shown then. */
export class StaleFault extends ServerFault {}

/** The token of this page is not that of the studio, which was started anew. */
export class TokenFault extends ServerFault {}

/**
 * The number of the model that the page shows, which requests name, and what to do when it is not that of the server:
 * to ask again, where this page has changed the model meanwhile, else to show what another one has made of it. `lost`
 * is called when the studio did not answer.
 */
export const shown: {
  version: number | null;
  stale: (asked: number | null, path: string) => Promise<boolean>;
  succeeded: () => void;
  lost: () => void;
} = {
  version: null,
  stale: () => Promise.resolve(false),
  succeeded: () => undefined,
  lost: () => undefined,
};

/** What the page asks by itself, whose success says nothing of an earlier error. */
const BY_ITSELF = ["catalogue/cost", "detect", "attend"];

async function send(path: string, init: RequestInit): Promise<Response> {
  const asked = shown.version;
  const headers = {
    ...init.headers,
    ...(asked === null ? {} : { "x-regard-version": String(asked) }),
    "x-regard-token": takeToken(),
    "accept-language": document.documentElement.lang,
  };
  let answer: Response;
  try {
    answer = await fetch(`/api/${path}`, { ...init, headers });
  } catch {
    throw unreachable();
  }
  if (!answer.ok) {
    const none = { file: null, line: null, expected: null, hint: null };
    const fault = { ...none, what: answer.statusText, ...(await answer.json().catch(() => ({}))) };
    if (answer.status === 401) throw new TokenFault(fault);
    if (answer.status !== 409) throw new ServerFault(fault);
    if (await shown.stale(asked, init.method === "POST" ? path : "")) return send(path, init);
    throw new StaleFault(fault);
  }
  if (init.method === "POST" && !BY_ITSELF.includes(path)) shown.succeeded();
  return answer;
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await send(path, { method: "GET", signal })).json() as Promise<T>;
}

export async function post<T>(path: string, question: unknown = {}, signal?: AbortSignal): Promise<T> {
  const headers = { "content-type": "application/json" };
  const answer = await send(path, { method: "POST", headers, body: JSON.stringify(question), signal });
  return answer.json() as Promise<T>;
}

export async function upload<T>(path: string, content: Blob): Promise<T> {
  return (await send(path, { method: "POST", body: content })).json() as Promise<T>;
}

export async function blobAddress(path: string, signal?: AbortSignal): Promise<string> {
  return URL.createObjectURL(await (await send(path, { method: "GET", signal })).blob());
}

/** Call `handle` with each event of a stream until it ends or is aborted; the stream waits for it. */
export async function listen(path: string, handle: (data: unknown) => void | Promise<void>, signal: AbortSignal): Promise<void> {
  const answer = await send(path, { method: "GET", signal });
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw signal.aborted ? error : unreachable();
    });
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) {
      if (event.startsWith("data: ")) await handle(JSON.parse(event.slice(6)));
    }
  }
}
