import { classColour } from "./colours";
import type { Box } from "./types";

/** Labels as dashed boxes, readable on light and dark pixels. */
export function LabelMarks({ labels, size }: { labels: Box[]; size: number }) {
  return labels.map(({ box: [x, y, right, bottom], class_id }, i) => (
    <g key={i} className="label" fill="none" strokeWidth={size}>
      <rect x={x} y={y} width={right - x} height={bottom - y} stroke="#000000" />
      <rect
        x={x}
        y={y}
        width={right - x}
        height={bottom - y}
        stroke={classColour(class_id)}
        strokeDasharray={`${4 * size} ${3 * size}`}
      />
    </g>
  ));
}

/** A name as far as it has room next to others. */
const short = (name: string) => ([...name].length > LONGEST ? `${[...name].slice(0, LONGEST - 1).join("")}…` : name);
const LONGEST = 24;

/** A detection with its class and score. */
export function BoxMark({ box, size }: { box: Box; size: number }) {
  const [left, top, right, bottom] = box.box;
  const text = `${short(box.name)} ${box.score.toFixed(2)}`;
  const font = size * 6.5;
  const label = top > font * 1.3 ? top : top + font * 1.3;
  return (
    <g className="box" data-name={box.name} data-score={box.score}>
      <rect
        x={left}
        y={top}
        width={right - left}
        height={bottom - top}
        stroke={classColour(box.class_id)}
        strokeWidth={size}
        fill="none"
      />
      <rect
        x={left}
        y={label - font * 1.3}
        width={font * 0.62 * text.length}
        height={font * 1.3}
        fill={classColour(box.class_id)}
      />
      <text x={left + font * 0.2} y={label - font * 0.3} fontSize={font}>
        {text}
      </text>
    </g>
  );
}
