const COLOURS = ["var(--accent)", "var(--hot)", "var(--good)", "var(--bad)", "var(--soft)"];
const [WIDTH, HEIGHT, EDGE] = [420, 150, 34];

interface Props {
  title: string;
  series: Record<string, (number | null)[]>;
  /** Upper end of the scale; by default the largest value. */
  top?: number;
}

/** Values by epoch as lines, with the last value of each in the legend. */
export function Curve({ title, series, top }: Props) {
  const lines = Object.entries(series).filter(([, values]) => values.some((value) => value !== null));
  if (!lines.length) return null;
  const epochs = Math.max(...lines.map(([, values]) => values.length));
  const high = top ?? Math.max(1e-9, ...lines.flatMap(([, values]) => values.map((value) => value ?? 0)));
  const x = (i: number) => EDGE + (epochs > 1 ? (i / (epochs - 1)) * (WIDTH - EDGE - 8) : (WIDTH - EDGE) / 2);
  const y = (value: number) => HEIGHT - 18 - (value / high) * (HEIGHT - 26);
  return (
    <figure className="curve">
      <figcaption>
        {title}
        {lines.map(([name, values], k) => (
          <span key={name}>
            <i style={{ background: COLOURS[k % COLOURS.length] }} /> {name} {last(values)}
          </span>
        ))}
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={title}>
        {[0, 0.5, 1].map((part) => (
          <g key={part}>
            <line x1={EDGE} x2={WIDTH - 8} y1={y(part * high)} y2={y(part * high)} />
            <text x={EDGE - 4} y={y(part * high) + 4} textAnchor="end">
              {(part * high).toPrecision(2)}
            </text>
          </g>
        ))}
        <text x={x(0)} y={HEIGHT - 4}>
          1
        </text>
        <text x={WIDTH - 8} y={HEIGHT - 4} textAnchor="end">
          {epochs}
        </text>
        {lines.map(([name, values], k) => {
          const points = values.flatMap((value, i) => (value === null ? [] : [[x(i), y(value)] as const]));
          return (
            <g key={name} stroke={COLOURS[k % COLOURS.length]} fill={COLOURS[k % COLOURS.length]}>
              <polyline points={points.map((point) => point.join(",")).join(" ")} fill="none" strokeWidth={2} />
              {points.map(([left, up]) => (
                <circle key={left} cx={left} cy={up} r={2.5} />
              ))}
            </g>
          );
        })}
      </svg>
    </figure>
  );
}

function last(values: (number | null)[]): string {
  const value = values.filter((one) => one !== null).pop();
  return value === undefined || value === null ? "" : value.toPrecision(3);
}
