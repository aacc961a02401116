import { useEffect, useState } from "react";
import { Dialog } from "./Dialogs";
import { get } from "./server";
import { useWords } from "./settings";
import type { Files, Opened } from "./types";

interface Props {
  opened: Opened;
  busy: boolean;
  /** Load the weights of a file of the workspace. */
  give: (source: string) => void;
  close: () => void;
  fail: (error: unknown) => void;
}

/** The files whose weights a graph without any can be given, and what was loaded from one. */
export function WeightsDialog({ opened, busy, give, close, fail }: Props) {
  const words = useWords();
  const [files, setFiles] = useState<Files | null>(null);
  useEffect(() => void get<Files>("files").then(setFiles).catch(fail), [fail]);
  const { given } = opened;
  return (
    <Dialog title={words("loadWeights")} close={close}>
      <p>{words("loadWeightsHint")}</p>
      {files && (files.weights.length ? (
        <ul className="choices">
          {files.weights.map((name) => (
            <li key={name}>
              <button disabled={busy} onClick={() => give(name)}>
                {name}
              </button>
            </li>
          ))}
        </ul>
      ) : (
        <p className="hint">{words("noWeightFiles")}</p>
      ))}
      {given && (
        <section aria-label={words("loadedFrom", { file: given.file })} aria-live="polite">
          <h3>{words("loadedFrom", { file: given.file })}</h3>
          <ul>
            {given.report.map((line) => (
              <li key={line}>{line}</li>
            ))}
          </ul>
        </section>
      )}
    </Dialog>
  );
}
