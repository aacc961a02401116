import { useEffect, useId, useRef, useState } from "react";
import { type Chosen, Film, isVideo } from "./Film";
import { Viewer, type Looking } from "./Viewer";
import { useWords } from "./settings";
import { blobAddress, get, post, upload } from "./server";
import type { Files, Kept, Node } from "./types";

interface Props {
  nodes: Node[];
  selected: string | null;
  edited: boolean;
  /** Whether the model came with weights. */
  trained: boolean;
  /** A file that was dropped somewhere on the page. */
  dropped: File | null;
  setDropped: (file: File | null) => void;
  version: number;
  fail: (error: unknown) => void;
}

/** An image with what the detector finds in it, and what its layers attend to. */
export function Look({ nodes, selected, edited, trained, dropped, setDropped, version, fail }: Props) {
  const words = useWords();
  const [kept, setKept] = useState<Kept | null>(null);
  const [address, setAddress] = useState("");
  const [files, setFiles] = useState<string[]>([]);
  const [samples, setSamples] = useState<string[]>([]);
  const [labels, setLabels] = useState(true);
  const [conf, setConf] = useState(0.25);
  const [iou, setIou] = useState(0.45);
  const [kind, setKind] = useState<Looking>("boxes");
  const [layer, setLayer] = useState("");
  const [both, setBoth] = useState(false);
  const [point, setPoint] = useState<[number, number] | null>(null);
  const input = useRef<HTMLInputElement>(null);

  const [videos, setVideos] = useState<string[]>([]);
  const [video, setVideo] = useState<Chosen | null>(null);
  const [sending, setSending] = useState(false);

  useEffect(() => {
    get<Files>("files").then((found) => {
      setFiles(found.images);
      setVideos(found.videos);
    }, fail);
  }, [fail]);

  useEffect(() => void get<string[]>("samples").then(setSamples).catch(fail), [fail]);

  const show = async (image: Promise<Kept>) => {
    try {
      const found = await image;
      setAddress(await blobAddress(`image/${found.key}`));
      setPoint(null);
      setVideo(null);
      setKept(found);
    } catch (error) {
      fail(error);
    }
  };
  const drop = (file: File | null | undefined) => {
    if (!file) return;
    const name = encodeURIComponent(file.name);
    setSending(true);
    const sent = isVideo(file)
      ? upload<string>(`film?name=${name}`, file).then((key) => setVideo({ name: file.name, key }), fail)
      : show(upload<Kept>(`image?name=${name}`, file));
    void sent.finally(() => setSending(false));
  };
  useEffect(() => {
    drop(dropped);
    if (dropped) setDropped(null);
  }, [dropped]);

  const attending = nodes.flatMap((node) => node.attention);
  const layers = kind === "map" ? attending : nodes.filter((node) => node.section !== "detect").map((node) => node.name);
  const own = selected && layers.find((name) => name === selected || (kind === "map" && name.startsWith(`${selected}.`)));
  const chosen = layers.includes(layer) ? layer : own || layers[layers.length - 1] || "";
  useEffect(() => setLayer(""), [selected]);

  return (
    <div
      className="look"
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        event.stopPropagation();
        drop(event.dataTransfer.files[0]);
      }}
    >
      <div className="row">
        <button onClick={() => input.current?.click()}>{words("chooseImage")}</button>
        <input
          ref={input}
          className="hidden"
          type="file"
          accept="image/*,video/*,.mkv,.avi,.wmv"
          aria-label={words("chooseImage")}
          tabIndex={-1}
          onChange={(event) => {
            drop(event.target.files?.[0]);
            event.target.value = "";
          }}
        />
        {files.length > 0 && (
          <select
            aria-label={words("workspace")}
            value=""
            onChange={(event) => void show(post<Kept>("image/open", { source: event.target.value }))}
          >
            <option value="">{words("workspace")}</option>
            {files.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        )}
        {videos.length > 0 && (
          <select aria-label={words("videos")} value="" onChange={(event) => setVideo({ name: event.target.value })}>
            <option value="">{words("videos")}</option>
            {videos.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        )}
        {samples.length > 0 && (
          <select
            aria-label={words("data")}
            value=""
            onChange={(event) => void show(post<Kept>("image/sample", { source: event.target.value }))}
          >
            <option value="">{words("data")}</option>
            {samples.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        )}
        <label>
          {words("show")}{" "}
          <select value={kind} onChange={(event) => setKind(event.target.value as Looking)}>
            <option value="boxes">{words("boxes")}</option>
            <option value="map">{words("attentionMap")}</option>
            <option value="gradient">{words("gradientMap")}</option>
            <option value="features">{words("featureMaps")}</option>
          </select>
        </label>
        {kind !== "boxes" && layers.length > 0 && (
          <label>
            {words("layer")}{" "}
            <select value={chosen} onChange={(event) => setLayer(event.target.value)}>
              {layers.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
        )}
        {edited && (
          <label className="check">
            <input type="checkbox" checked={both} onChange={(event) => setBoth(event.target.checked)} />
            {words("sideBySide")}
          </label>
        )}
      </div>
      {(video || kind === "boxes") && (
        <div className="row">
          <Slider label={words("confidence")} value={conf} least={0.01} set={setConf} />
          {kept && kept.labels.length > 0 && (
            <label className="check">
              <input type="checkbox" checked={labels} onChange={(event) => setLabels(event.target.checked)} />
              {words("labels")}
            </label>
          )}
          <Slider label={words("iou")} value={iou} least={0} set={setIou} />
        </div>
      )}
      {sending && <p className="busy">{words("sending")}</p>}
      {!trained && (video || kept) && <p className="hint">{words("untrained")}</p>}
      {!video && kind === "map" && !attending.length && <p className="hint">{words("noAttention")}</p>}
      {video ? (
        <div className="viewers">
          {(both && edited ? [true, false] : [false]).map((base) => (
            <Film
              key={`${base} ${version}`}
              title={both && edited ? words(base ? "base" : "edited") : video.name}
              {...{ video, conf, iou, base, fail }}
            />
          ))}
        </div>
      ) : kept ? (
        <div className="viewers">
          {(both && edited ? [true, false] : [false]).map((base) => (
            <Viewer
              key={String(base)}
              title={both && edited ? words(base ? "base" : "edited") : kept.name}
              {...{ kept, address, kind, labels, conf, iou, layer: chosen, point, setPoint, base, version, fail }}
            />
          ))}
        </div>
      ) : (
        <p className="drop">{words("dropImage")}</p>
      )}
    </div>
  );
}

function Slider({ label, value, least, set }: { label: string; value: number; least: number; set: (value: number) => void }) {
  const id = useId();
  return (
    <div className="slider">
      <label htmlFor={id}>{label}</label> <output htmlFor={id}>{value.toFixed(2)}</output>
      <input
        id={id}
        type="range"
        min={least}
        max={1}
        step={0.01}
        value={value}
        onChange={(event) => set(Number(event.target.value))}
      />
    </div>
  );
}
