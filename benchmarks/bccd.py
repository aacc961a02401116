"""Fine-tune YOLOv5n on a data set with and without SE, and YOLOv5, and evaluate all with one evaluator.

    python benchmarks/bccd.py --data ../shared/data/bccd --weights ../shared/weights/yolov5n.pt --work runs/bccd \
        --peer PATH/TO/OTHER/ENVIRONMENT/bin/yolov5 --page docs/results/bccd.md

Runs that are finished in ``--work`` are not repeated. Settings were chosen on val; test is only reported. The peer is
the ``yolov5`` package in a separate environment, run by its own commands with its own defaults, on the same images
and boxes written as YOLO files; its detections (``--save-json``) are scored by ours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import matplotlib
import numpy as np
import yaml
from kept import thread_limits

import regard
from regard.data.dataset import DetectionDataset, Sample
from regard.data.formats import load_data
from regard.data.images import image_size
from regard.evaluation.metrics import score
from regard.types import Detections

SPLITS = ("val", "test")
Result = dict[str, float]


@dataclass(frozen=True)
class Study:
    """What is the same in every run.

    Attributes:
        data: the data set's folder.
        weights: the checkpoint that every run starts from.
        work: where runs are kept.
        epochs: of each run.
        imgsz: side of the input in pixels.
        batch: images per step.
        threads: for each process; 0 leaves each side its own default.
    """

    data: Path
    weights: Path
    work: Path
    epochs: int
    imgsz: int
    batch: int
    threads: int

    def environment(self) -> dict[str, str]:
        """The environment of every process of the study."""
        return os.environ | thread_limits(self.threads)


def train_ours(study: Study, name: str, seed: int) -> dict[str, Result]:
    """Train one detector by the command line and return its metrics by split."""
    model = study.work / f"{name}.safetensors" if name == "se" else study.weights
    if name == "se" and not model.exists():
        _ours(study, "insert", study.weights, "SE", "--after", "sppf", "-o", model)
    folder = study.work / f"{name}-{seed}"
    size = ("--imgsz", study.imgsz)
    options = ("--epochs", study.epochs, "--batch", study.batch, "--seed", seed, "--workers", 1, "--cache", "ram")
    _ours(study, "train", model, "--data", study.data, *size, *options, "-o", folder)
    results = {}
    for split in SPLITS:
        said = _ours(study, "val", folder, "--data", study.data, *size, "--split", split, "--format", "json")
        results[split] = {key: json.loads(said)[key] for key in ("ap", "ap50")}
    return results


def _ours(study: Study, *arguments: object) -> str:
    command = [sys.executable, "-m", "regard", *map(str, arguments)]
    return subprocess.run(command, check=True, env=study.environment(), stdout=subprocess.PIPE, text=True).stdout


def train_peer(study: Study, peer: Path, seed: int) -> dict[str, Result]:
    """Train YOLOv5 by its own command and defaults and return its detections' metrics by split."""
    folder = study.work / f"yolov5-{seed}"
    command = peer_training(study, peer, seed, study.epochs, folder)
    subprocess.run(command, check=True, env=study.environment() | peer_environment(study))
    return peer_scores(study, peer, folder)


def peer_environment(study: Study) -> dict[str, str]:
    """What the peer's commands need in their environment."""
    home = study.work / "home"
    give_font(home / ".config" / "Ultralytics")
    # It opens its checkpoint as a full pickle.
    return {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "HOME": str(home), "WANDB_DISABLED": "true"}


def peer_training(study: Study, peer: Path, seed: int, epochs: int, folder: Path) -> list[str]:
    """YOLOv5's command that trains into ``folder``, with its defaults; write the data as it reads them."""
    options = ("--weights", study.weights, "--epochs", epochs, "--batch-size", study.batch, "--seed", seed)
    return [str(peer), "train", *_peer_common(study, folder), *map(str, options), "--name", "train"]


def peer_scores(study: Study, peer: Path, folder: Path) -> dict[str, Result]:
    """Return, by split, the metrics of the detections of a run of YOLOv5's."""
    data = load_data(study.data)
    results = {}
    for split in SPLITS:
        weights = folder / "train" / "weights" / "best.pt"
        tail = ("--weights", str(weights), "--task", split, "--save-json", "--name", split)
        command = [str(peer), "val", *_peer_common(study, folder), *tail]
        subprocess.run(command, check=True, env=study.environment() | peer_environment(study))
        rows = json.loads((folder / split / "best_predictions.json").read_text())
        results[split] = score_rows(rows, data.splits[split], data.names)
    return results


def _peer_common(study: Study, folder: Path) -> list[str]:
    description = study.work / "yolo" / "data.yaml"
    if not description.exists():
        write_yolo(load_data(study.data), description.parent)
    where = ("--project", folder, "--exist-ok")
    return list(map(str, ("--data", description, "--img", study.imgsz, "--device", "cpu", *where)))


def give_font(folder: Path) -> None:
    """Put a font where the peer looks for one before it asks the network."""
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(font, folder / "Arial.ttf")


def write_yolo(data: DetectionDataset, folder: Path) -> Path:
    """Write a data set as YOLO files, images linked, and return its data.yaml."""
    for split, records in data.splits.items():
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for record in records:
            image = Path(record.image.name).resolve()
            link = folder / "images" / split / image.name
            link.unlink(missing_ok=True)
            link.symlink_to(image)
            rows = zip(record.class_ids, record.boxes_cxcywh, strict=True)
            lines = [f"{class_id} " + " ".join(f"{value:.6f}" for value in box) for class_id, box in rows]
            (folder / "labels" / split / f"{image.stem}.txt").write_text("\n".join(lines) + "\n")
    description = {"path": str(folder.resolve()), **{s: f"images/{s}" for s in data.splits}, "names": list(data.names)}
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(description | {"nc": len(data.names)}, sort_keys=False))
    return path


def score_rows(rows: Sequence[dict[str, object]], records: Sequence[Sample], names: Sequence[str]) -> Result:
    """AP and AP50 of detections in a COCO results file whose image ids are file stems."""
    found: dict[str, list[tuple[list[float], float, int]]] = {}
    for row in rows:
        found.setdefault(str(row["image_id"]), []).append((row["bbox"], row["score"], row["category_id"]))  # type: ignore[arg-type]
    metrics = score([_detections(record, found) for record in records], records, names)
    return {"ap": metrics.ap, "ap50": metrics.ap50}


def _detections(record: Sample, found: dict[str, list[tuple[list[float], float, int]]]) -> Detections:
    rows = found.get(Path(record.image.name).stem, [])
    boxes = np.array([box for box, _, _ in rows], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = np.array([s for _, s, _ in rows], dtype=np.float32)
    class_ids = np.array([c for _, _, c in rows], dtype=np.int64)
    return Detections(boxes, scores, class_ids, image_size=image_size(record.image))


def finished(study: Study, name: str, seed: int, train: Callable[[], dict[str, Result]]) -> dict[str, Result]:
    """The metrics of a run, from its file where it is finished."""
    path = study.work / f"{name}-{seed}.json"
    if not path.exists():
        results = train()
        path.write_text(json.dumps(results, indent=2))
    return json.loads(path.read_text())


def page(study: Study, results: dict[str, list[dict[str, Result]]]) -> str:
    """The results as Markdown."""
    seeds = len(next(iter(results.values())))
    lines = [
        f"# {study.data.name}: fine-tuning from {study.weights.name}",
        "",
        f"{date.today()}, {study.epochs} epochs, {study.imgsz} px, batch {study.batch}, seeds 0 to {seeds - 1}, "
        f"{study.threads} thread(s) per process, {platform.machine()}, regard {regard.__version__}. COCO protocol, one "
        "evaluator for all; mean and standard deviation over seeds, then each seed.",
        "",
        "| detector | split | AP50 | AP | AP50 of each seed | AP of each seed |",
        "|---|---|--:|--:|---|---|",
    ]
    for name, runs in results.items():
        for split in SPLITS:
            ap50, ap = ([run[split][key] for run in runs] for key in ("ap50", "ap"))
            each = [", ".join(f"{value:.3f}" for value in values) for values in (ap50, ap)]
            lines.append(f"| {name} | {split} | {_spread(ap50)} | {_spread(ap)} | {each[0]} | {each[1]} |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def main() -> None:
    """Run what is not finished and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--weights", "--work"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--peer", type=Path, help="the yolov5 command of another environment")
    parser.add_argument("--page", type=Path, help="where the table goes")
    for name, default in (("--seeds", 3), ("--epochs", 15), ("--imgsz", 320), ("--batch", 16), ("--threads", 1)):
        parser.add_argument(name, type=int, default=default)
    a = parser.parse_args()
    study = Study(a.data.resolve(), a.weights.resolve(), a.work.resolve(), a.epochs, a.imgsz, a.batch, a.threads)
    study.work.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict[str, Result]]] = {}
    for seed in range(a.seeds):  # in turn, so that a change in the machine's speed meets all alike
        for name in ("plain", "se"):
            run = finished(study, name, seed, lambda name=name, seed=seed: train_ours(study, name, seed))
            results.setdefault(name, []).append(run)
        if a.peer:
            run = finished(study, "yolov5", seed, lambda seed=seed: train_peer(study, a.peer, seed))
            results.setdefault("YOLOv5, its defaults", []).append(run)
    text = page(study, results)
    print(text)
    if a.page:
        a.page.parent.mkdir(parents=True, exist_ok=True)
        a.page.write_text(text)


if __name__ == "__main__":
    main()
