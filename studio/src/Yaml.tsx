import { useEffect, useRef, useState } from "react";
import { useWords } from "./settings";
import type { Line, Opened } from "./types";

/** The YAML of integers before and after the edits, and the edits as text to copy. */
export function Yaml({ opened }: { opened: Opened }) {
  const words = useWords();
  const { integers } = opened;
  const edited = opened.edits.length > 0;
  return (
    <div className="yaml">
      {integers ? (
        <>
          <p className={edited ? "shifted" : "hint"}>
            {edited ? words("shifted", { n: integers.shifted }) : words("noEdit")}
          </p>
          {opened.diagram.nodes.some((node) => node.gate !== null) && <p className="hint">{words("ungatedNote")}</p>}
          <div className={edited ? "versions" : "versions single"}>
            {edited && <Lines title={words("before")} lines={integers.before} />}
            <Lines title={edited ? words("after") : words("yaml")} lines={integers.after} />
          </div>
        </>
      ) : (
        <p className="hint">{opened.integers_fault}</p>
      )}
      {edited && (
        <>
          {opened.recipe.commands ? (
            <Copyable title={words("command")} text={opened.recipe.commands} />
          ) : (
            <p className="hint">{words("noCommand")}</p>
          )}
          <Copyable title={words("python")} text={opened.recipe.python} />
        </>
      )}
    </div>
  );
}

function Lines({ title, lines }: { title: string; lines: Line[] }) {
  const box = useRef<HTMLPreElement>(null);
  useEffect(() => {
    const first = box.current?.querySelector<HTMLElement>(".new, .gone, .shifted, .changed");
    if (box.current && first) box.current.scrollTop = first.offsetTop - box.current.offsetTop - 60;
  }, [lines]);
  return (
    <section aria-label={title}>
      <h3>{title}</h3>
      <pre tabIndex={0} ref={box}>
        {lines.map((line, i) => (
          <div key={i} className={`line ${line.change}`} title={line.name}>
            <span className="number">{line.row ?? ""}</span>
            {line.parts.map((part, k) => (part.shifted ? <mark key={k}>{part.text}</mark> : <span key={k}>{part.text}</span>))}
          </div>
        ))}
      </pre>
    </section>
  );
}

export function Copyable({ title, text }: { title: string; text: string }) {
  const words = useWords();
  const [copied, setCopied] = useState(false);
  const copy = () => {
    void navigator.clipboard?.writeText(text).then(() => {
      setCopied(true);
      setTimeout(() => setCopied(false), 1500);
    });
  };
  return (
    <section aria-label={title}>
      <h3 className="with-button">
        {title}
        <button onClick={copy} aria-label={`${words("copy")}: ${title}`}>
          {copied ? words("copied") : words("copy")}
        </button>
      </h3>
      <pre tabIndex={0}>{text}</pre>
    </section>
  );
}
