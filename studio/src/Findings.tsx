import { useWords } from "./settings";
import type { Correction, Opened } from "./types";

interface Props {
  opened: Opened;
  busy: boolean;
  correct: (lines: number[]) => void;
  select: (name: string) => void;
}

/** The wiring errors of the open file, with its lines and the corrected rows. */
export function Findings({ opened, busy, correct, select }: Props) {
  const words = useWords();
  const lines = opened.text.split("\n");
  const errors = opened.findings.filter((one) => !one.note);
  const mendable = errors.filter((one) => one.mendable);
  if (!opened.findings.length) return null;
  return (
    <section className="findings" role="alert">
      <h2 className="with-button">
        {errors.length ? words("findings", { n: errors.length }) : words("intended")}
        {mendable.length > 1 && (
          <button className="primary" disabled={busy} onClick={() => correct(mendable.map((one) => one.line))}>
            {words("applyAll")}
          </button>
        )}
      </h2>
      <ul>
        {opened.findings.map((one, i) => (
          <Finding key={i} finding={one} text={lines[one.line - 1] ?? ""} {...{ busy, correct, select }} />
        ))}
      </ul>
    </section>
  );
}

type FindingProps = Omit<Props, "opened"> & { finding: Correction; text: string };

function Finding({ finding, text, busy, correct, select }: FindingProps) {
  const words = useWords();
  return (
    <li className={finding.note ? "note" : "error"}>
      <button className="link" onClick={() => select(finding.layer)}>
        {words("line")} {finding.line}
      </button>{" "}
      {finding.message}
      {!finding.note && (
        <>
          <pre tabIndex={0}>
            <del>{text.trim().replace(/^- /, "")}</del>
            {finding.row && (
              <>
                {"\n"}
                <ins>{finding.row}</ins>
              </>
            )}
          </pre>
          {finding.mendable && (
            <button disabled={busy} onClick={() => correct([finding.line])}>
              {words("apply")}
            </button>
          )}
        </>
      )}
    </li>
  );
}
