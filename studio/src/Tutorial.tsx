import { useContext, useEffect, useState } from "react";
import { kept, keep } from "./kept";
import { LanguageContext, useWords } from "./settings";
import { stepOf, type Step } from "./steps";
import { Copyable } from "./Yaml";

interface Part {
  html?: string;
  language?: string;
  code?: string;
}

interface Chapter {
  title: string;
  parts: Part[];
}

/** The chapters of the tutorial next to the graph; edits and files of it can be made by a click. */
export function Tutorial({ busy, take }: { busy: boolean; take: (step: Step) => void }) {
  const words = useWords();
  const language = useContext(LanguageContext);
  const [chapters, setChapters] = useState<Chapter[]>([]);
  const [place, setPlace] = useState(() => Number(kept("sessionStorage", "regard-chapter") ?? 0));
  useEffect(() => {
    fetch(`tutorial/${language}.json`).then(async (answer) => setChapters((await answer.json()) as Chapter[]));
  }, [language]);
  useEffect(() => void keep("sessionStorage", "regard-chapter", String(place)), [place]);
  const chapter = chapters[place];
  if (!chapter) return null;
  return (
    <div className="tutorial" key={`${language} ${place}`}>
      <div className="row">
        <select aria-label={words("chapter")} value={place} onChange={(event) => setPlace(Number(event.target.value))}>
          {chapters.map((one, i) => (
            <option key={i} value={i}>
              {one.title}
            </option>
          ))}
        </select>
        <button disabled={place === 0} onClick={() => setPlace(place - 1)}>
          {words("previous")}
        </button>
        <button disabled={place === chapters.length - 1} onClick={() => setPlace(place + 1)}>
          {words("next")}
        </button>
      </div>
      <h2>{chapter.title}</h2>
      {chapter.parts.map((part, i) =>
        part.html ? (
          <div key={i} dangerouslySetInnerHTML={{ __html: part.html }} />
        ) : (
          <Block key={i} part={part} {...{ busy, take }} />
        ),
      )}
    </div>
  );
}

function Block({ part, busy, take }: { part: Part; busy: boolean; take: (step: Step) => void }) {
  const words = useWords();
  const code = part.code ?? "";
  const step = stepOf(part.language ?? "", code);
  return (
    <>
      {part.language === "text" ? <pre tabIndex={0}>{code}</pre> : <Copyable title={part.language ?? ""} text={code} />}
      {step && (
        <button className="primary" disabled={busy} onClick={() => take(step)}>
          {words(step.text === undefined ? "doStep" : "openHere")}
        </button>
      )}
    </>
  );
}
