import { useEffect, useRef, useState } from "react";
import { BoxMark, LabelMarks } from "./Boxes";
import { decode, viridis } from "./colours";
import { post, ServerFault, StaleFault } from "./server";
import { useWords } from "./settings";
import type { Box, Detected, Grid, Kept, Maps } from "./types";

export type Looking = "boxes" | "map" | "gradient" | "features";

interface Props {
  title: string;
  kept: Kept;
  address: string;
  kind: Looking;
  labels: boolean;
  conf: number;
  iou: number;
  layer: string;
  point: [number, number] | null;
  setPoint: (point: [number, number]) => void;
  base: boolean;
  version: number;
  fail: (error: unknown) => void;
}

/** One image with boxes or maps of one model over it. */
export function Viewer(props: Props) {
  const { kept, kind, conf, iou, layer, point, base, version, fail } = props;
  const words = useWords();
  const [boxes, setBoxes] = useState<Box[]>([]);
  const [maps, setMaps] = useState<Maps | null>(null);
  const [shown, setShown] = useState(0);
  const [lacks, setLacks] = useState(false);

  useEffect(() => {
    const stop = new AbortController();
    const question = { image: kept.key, conf, iou, base };
    post<Detected>("detect", question, stop.signal)
      .then((found) => setBoxes(found.boxes))
      .catch((error) => stop.signal.aborted || fail(error));
    return () => stop.abort();
  }, [kept, conf, iou, base, version, fail]);

  useEffect(() => {
    setMaps(null);
    setLacks(false);
    if (kind === "boxes" || !layer) return;
    const stop = new AbortController();
    const [x, y] = point ?? [null, null];
    post<Maps>("attend", { image: kept.key, layer, kind, x, y, base }, stop.signal)
      .then(setMaps)
      .catch((error) => {
        if (stop.signal.aborted) return;
        // a layer that was inserted is not in the base, which is no error of anybody
        if (base && error instanceof ServerFault && !(error instanceof StaleFault)) setLacks(true);
        else fail(error);
      });
    return () => stop.abort();
  }, [kept, kind, layer, point, base, version, fail]);

  useEffect(() => setShown(0), [layer, kind]);
  const grid = maps?.grids[Math.min(shown, maps.grids.length - 1)];
  return (
    <figure className="viewer">
      <figcaption>
        {props.title} · {kind === "boxes" ? words("detections", { n: boxes.length }) : (maps?.title ?? "…")}
      </figcaption>
      <Stage {...props} boxes={kind === "boxes" ? boxes : []} maps={maps} grid={grid} />
      {lacks && <p className="hint">{words("baseLacks", { name: layer })}</p>}
      {!lacks && kind !== "boxes" && kind !== "features" && !maps?.channels && <p className="hint">{words("clickImage")}</p>}
      {maps && maps.grids.length > 1 && (
        <div className="thumbs" role="group" aria-label={words("heads")}>
          {maps.grids.map((one, i) => (
            <button key={one.heading} aria-pressed={i === shown} onClick={() => setShown(i)}>
              <Painted grid={one} />
              {one.heading}
            </button>
          ))}
        </div>
      )}
      {maps?.channels && <Channels weights={maps.channels} />}
    </figure>
  );
}

type StageProps = Props & { boxes: Box[]; maps: Maps | null; grid: Grid | undefined };

function Stage({ kept, address, kind, labels, boxes, maps, grid, setPoint, title }: StageProps) {
  const [left, right, bottom, top] = maps?.edges ?? [0, 0, 0, 0];
  const { width, height } = kept;
  const stroke = Math.max(width, height) / 300;
  const click = (event: React.MouseEvent) => {
    const area = event.currentTarget.getBoundingClientRect();
    const x = Math.min(((event.clientX - area.left) / area.width) * width, width - 1);
    const y = Math.min(((event.clientY - area.top) / area.height) * height, height - 1);
    setPoint([Math.floor(x), Math.floor(y)]);
  };
  return (
    <div className={`stage ${grid ? "faded" : ""}`} onClick={kind === "boxes" ? undefined : click}>
      <img src={address} alt={title} draggable={false} />
      {grid && (
        <div
          className="overlay"
          style={{
            left: `${(100 * left) / width}%`,
            top: `${(100 * top) / height}%`,
            width: `${(100 * (right - left)) / width}%`,
            height: `${(100 * (bottom - top)) / height}%`,
          }}
        >
          <Painted grid={grid} />
        </div>
      )}
      <svg viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
        {kind === "boxes" && labels && <LabelMarks labels={kept.labels} size={stroke} />}
        {boxes.map((one, i) => (
          <BoxMark key={i} box={one} size={stroke} />
        ))}
        {maps?.box && (
          <rect
            className="explained"
            x={maps.box[0]}
            y={maps.box[1]}
            width={maps.box[2] - maps.box[0]}
            height={maps.box[3] - maps.box[1]}
            strokeWidth={stroke}
          />
        )}
        {maps?.query && !maps.channels && (
          <g className="query" strokeWidth={stroke}>
            <circle cx={maps.query[0]} cy={maps.query[1]} r={4 * stroke} />
            <circle cx={maps.query[0]} cy={maps.query[1]} r={4 * stroke} />
          </g>
        )}
      </svg>
    </div>
  );
}

/** A map as a canvas of one pixel per cell; a cell without weight stays transparent. */
function Painted({ grid }: { grid: Grid }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const values = decode(grid.values);
    const image = context.createImageData(grid.columns, grid.rows);
    const span = grid.high - grid.low || 1;
    values.forEach((value, i) => {
      image.data.set([...viridis((value - grid.low) / span), grid.low === 0 && value === 0 ? 0 : 255], 4 * i);
    });
    context.putImageData(image, 0, 0);
  }, [grid]);
  return <canvas ref={canvas} width={grid.columns} height={grid.rows} role="img" aria-label={grid.heading} />;
}

function Channels({ weights }: { weights: number[] }) {
  const words = useWords();
  const high = Math.max(...weights, 1e-9);
  const mean = weights.reduce((sum, one) => sum + one, 0) / weights.length;
  return (
    <div className="channels">
      <h3>
        {words("channelWeights")} ({weights.length}, ∅ {mean.toFixed(3)})
      </h3>
      <svg viewBox={`0 0 ${weights.length} 40`} preserveAspectRatio="none" role="img" aria-label={words("channelWeights")}>
        {weights.map((one, i) => (
          <rect key={i} x={i} width={0.9} y={40 - (40 * one) / high} height={(40 * one) / high} />
        ))}
      </svg>
    </div>
  );
}
