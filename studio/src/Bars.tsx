import { useState } from "react";
import { count } from "./numbers";
import { useWords } from "./settings";
import type { Histogram } from "./types";

const MOST = 80;

/** Counts by bin as a table whose cells are bars, one column per split. */
export function Bars({ title, histogram }: { title: string; histogram: Histogram }) {
  const words = useWords();
  const [most, setMost] = useState(MOST);
  const splits = Object.entries(histogram.counts).filter(([, counts]) => counts.some((value) => value > 0));
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={title}>
      <table className="bars">
        <caption>{title}</caption>
        <thead>
          <tr>
            <td />
            {splits.map(([split]) => (
              <th key={split} scope="col">
                {split}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {histogram.labels.slice(0, most).map((label, i) => (
            <tr key={i}>
              <th scope="row" title={label}>
                {label}
              </th>
              {splits.map(([split, counts]) => (
                <td key={split}>
                  <i style={{ width: `${((splits.length > 2 ? 9 : 18) * counts[i]!) / Math.max(...counts)}cqw` }} />
                  {count(counts[i]!)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {histogram.labels.length > most && (
        <button onClick={() => setMost(histogram.labels.length)}>{words("more", { n: histogram.labels.length - most })}</button>
      )}
    </div>
  );
}
