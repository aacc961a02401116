"""Predict and validate with regard and with YOLOv5's own commands, in turn, and write a dated table.

    python benchmarks/peers.py --env PATH/TO/PEERS --data ../shared/data/coco128 \
        --weights ../shared/weights/yolov5n.pt --work runs/peers --page docs/results/peers.md

``--env`` is a Python environment with the packages `yolov5` and `ultralytics`; it is created if it does not exist. Both
sides run as whole processes by their own commands and defaults, on the same images, weights and threads; DATA is also
what ``--precision auto`` is calibrated on. The time per image is the difference between 2 N and N images, divided by N,
so that starting up does not count; it has everything in it: reading, letterbox, network, NMS, printing. Rounds that are
finished in ``--work`` are not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import yaml
from kept import processor, thread_limits
from peers_page import page

import regard
from regard.data.dataset import DetectionDataset, Sample
from regard.data.formats import load_data
from regard.data.images import image_size
from regard.evaluation.metrics import score
from regard.runtimes.calibrate import load_calibration
from regard.types import Detections

PEERS = ("yolov5==7.0.14", "ultralytics==8.4.190", "numpy<2.4", "setuptools<81")
SPEED = re.compile(r"Speed: ([\d.]+)ms pre-process, ([\d.]+)ms inference, ([\d.]+)ms NMS")
FOLDER_IMAGES = 1000
ROUNDED = 0.501
"""Pixels: YOLOv5 rounds boxes to whole ones and prints six digits."""
ULTRALYTICS = """
import sys
import torch
torch.set_num_threads(int(sys.argv[1]))
torch.set_num_threads = lambda count: None  # it would take one thread on two cores
from ultralytics import YOLO
for _ in YOLO("yolov5n.yaml").predict(sys.argv[2], imgsz=int(sys.argv[3]), device="cpu", stream=True, save=False):
    pass
"""
"""Its own prediction with defaults. It cannot open YOLOv5's checkpoints, so its network is untrained."""
WATCH = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, used = os.wait4(process.pid, 0)
found = {"seconds": time.perf_counter() - start, "cpu": used.ru_utime + used.ru_stime}
found["megabytes"] = used.ru_maxrss / 1000
open(sys.argv[1], "w").write(json.dumps(found))
os._exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Bench:
    """What is the same in every run.

    Attributes:
        peer: the command ``yolov5`` of the other environment.
        data: data set of the images.
        weights: the checkpoint.
        work: where links, outputs and finished rounds are kept.
        threads: for each process; 0 leaves each side its own default.
        images: N, for times per image.
    """

    peer: Path
    data: Path
    weights: Path
    work: Path
    threads: int
    images: int

    def ours(self, *arguments: object) -> list[str]:
        """A command of ours."""
        return [sys.executable, "-m", "regard", *map(str, arguments)]

    def theirs(self, *arguments: object) -> list[str]:
        """A command of the peer's."""
        return [str(self.peer), *map(str, arguments), "--device", "cpu"]

    def run(self, command: list[str]) -> dict[str, float | str]:
        """Run a command to its end; return seconds, the peak of its resident memory in MB, and what it printed."""
        environment = os.environ | {
            **thread_limits(self.threads),
            "REGARD_CACHE": str(self.work / "cache"),
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",  # the peer opens its checkpoint as a full pickle
            "HOME": str(self.work / "home"),
        }
        # By way of a small process: a child's peak of memory is never below that of the process it was forked from.
        with (self.work / "printed.txt").open("w") as printed:
            watched = [sys.executable, "-S", "-c", WATCH, str(self.work / "used.json"), *command]
            status = subprocess.run(watched, env=environment, stdout=printed, stderr=subprocess.STDOUT).returncode
        used: dict[str, float] = json.loads((self.work / "used.json").read_text())
        text = (self.work / "printed.txt").read_text()
        if status:
            raise RuntimeError(f"{' '.join(command)} failed:\n{text[-2000:]}")
        return used | {"printed": text}

    def predict(self, whose: str, source: Path, size: int, *extra: object, save: bool = False) -> list[str]:
        """The command of a side that predicts, with or without saving images."""
        if whose == "ultralytics":
            python = self.peer.with_name("python")
            return [str(python), "-c", ULTRALYTICS, str(self.threads), str(source), str(size)]
        if whose == "ours":
            saving = [] if save else ["--no-save-images", "--no-save-json", "--no-save-csv"]
            return self.ours(
                "predict", self.weights, source, "--imgsz", size, "-o", self.fresh("ours"), *saving, *extra
            )
        saving = [] if save else ["--nosave"]
        folder = self.fresh("theirs")
        where = ("--project", folder.parent, "--name", folder.name, "--exist-ok")
        return self.theirs(
            "detect", "--weights", self.weights, "--source", source, "--img", size, *where, *saving, *extra
        )

    def fresh(self, name: str) -> Path:
        """An empty place for output."""
        folder = self.work / f"out-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def links(self, count: int) -> Path:
        """A folder of that many images: links to those of the data set, again and again."""
        folder = self.work / f"images-{count}"
        if not folder.is_dir():
            folder.mkdir()
            images = [Path(record.image.name).resolve() for record in records_of(load_data(self.data))]
            for i in range(count):
                image = images[i % len(images)]
                (folder / f"{i:04}{image.suffix}").symlink_to(image)
        return folder


def records_of(data: DetectionDataset) -> list[Sample]:
    """The labelled images of the split that validation takes."""
    return list(data.splits.get("val") or next(iter(data.splits.values())))


def make_environment(folder: Path) -> Path:
    """The peer's command, its environment created if it does not exist."""
    command = folder / "bin" / "yolov5"
    if not command.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", *PEERS], check=True)
    return command


def per_image(bench: Bench, whose: str, size: int, *extra: object) -> dict[str, float]:
    """Milliseconds per image of the whole path, and the parts that the peer itself prints."""
    count = bench.images
    done = [bench.run(bench.predict(whose, bench.links(n), size, *extra)) for n in (count, 2 * count)]
    value, cpu = (1000 * (float(done[1][key]) - float(done[0][key])) / count for key in ("seconds", "cpu"))
    found = {"value": value, "cpu": cpu}
    if whose == "theirs" and (own := SPEED.search(str(done[1]["printed"]))):
        found["own_line"] = sum(map(float, own.groups()))
    return found


def whole(bench: Bench, command: list[str]) -> dict[str, float]:
    """Seconds and peak memory of a whole process."""
    done = bench.run(command)
    return {"value": float(done["seconds"]), "cpu": float(done["cpu"]), "megabytes": float(done["megabytes"])}


def first_run(bench: Bench) -> dict[str, float]:
    """Seconds and peak memory of our first run, which compiles the model."""
    shutil.rmtree(bench.work / "cache", ignore_errors=True)
    return whole(bench, bench.predict("ours", bench.links(1), 640))


def validation(bench: Bench, whose: str, save: Path | None = None) -> list[str]:
    """The command of either side that validates, one image at a time."""
    if whose == "ours":
        saving = ["--save-json", save] if save else []
        return bench.ours("val", bench.weights, "--data", bench.data, "--imgsz", 640, "--batch", 1, *saving)
    description = yaml.safe_load((bench.data / "data.yaml").read_text()) | {"path": str(bench.data)}
    (bench.work / "data.yaml").write_text(yaml.safe_dump(description))
    folder = bench.fresh("val")
    where = ("--project", folder.parent, "--name", folder.name, "--exist-ok", *(["--save-json"] if save else []))
    what = ("--weights", bench.weights, "--data", bench.work / "data.yaml", "--img", 640, "--batch-size", 1)
    return bench.theirs("val", *what, *where)


def agreement(bench: Bench, size: int) -> dict[str, float]:
    """Compare the detections of both, and return the largest differences and how many have no counterpart."""
    source = bench.links(bench.images)
    bench.run(bench.predict("ours", source, size, "--save-txt", "--save-conf"))
    bench.run(bench.predict("theirs", source, size, "--save-txt", "--save-conf"))
    pixels, scores, alone, count = [0.0], [0.0], 0, 0
    for image in sorted(source.iterdir()):
        ours, theirs = (
            _rows(bench.work / f"out-{w}" / "labels" / f"{image.stem}.txt", image) for w in ("ours", "theirs")
        )
        count, alone = count + len(theirs), alone + abs(len(ours) - len(theirs))
        for row in theirs:
            same = ours[ours[:, 0] == row[0]]
            distance = np.abs(same[:, 1:5] - row[1:5]).max(axis=1)
            if not len(same) or distance.min() > ROUNDED:
                alone += 1
                continue
            pixels.append(float(distance.min()))
            scores.append(float(abs(same[distance.argmin(), 5] - row[5])))
    return {"detections": count, "without_counterpart": alone, "pixels": max(pixels), "score": max(scores)}


def _rows(file: Path, image: Path) -> np.ndarray:
    """Return (N, 6): class, left, top, right, bottom in pixels, score."""
    if not file.is_file() or not file.read_text().strip():
        return np.zeros((0, 6))
    class_id, x, y, w, h, score = np.loadtxt(file, ndmin=2).T
    height, width = image_size(regard.data.images.ImageFile(image))
    corners = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    return np.stack([class_id, *corners, score], axis=1)


def average_precision(bench: Bench) -> dict[str, float]:
    """AP of both sides' detections, by one evaluator."""
    data = load_data(bench.data)
    bench.run(validation(bench, "ours", bench.work / "ours.json"))
    bench.run(validation(bench, "theirs", bench.work))
    rows = {"ours": bench.work / "ours.json", "theirs": next((bench.work / "out-val").glob("*_predictions.json"))}
    return {whose: _ap(json.loads(file.read_text()), records_of(data), data.names) for whose, file in rows.items()}


def _ap(rows: list[dict[str, Any]], records: list[Sample], names: tuple[str, ...]) -> float:
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        left, top, width, height = row["bbox"]
        values = [left, top, left + width, top + height, row["score"], row["category_id"]]
        found.setdefault(str(row["image_id"]).lstrip("0"), []).append(values)
    detections = []
    for record in records:
        # YOLOv5 writes the stem of a file's name, ours the image's number where the stem is none.
        ids_of_image = (name.lstrip("0") for name in (Path(record.image.name).stem, str(record.image_id)))
        own_rows = next((found[name] for name in ids_of_image if name in found), [])
        own = np.array(own_rows, dtype=np.float64).reshape(-1, 6)
        boxes, ids = own[:, :4].astype(np.float32), own[:, 5].astype(np.int64)
        detections.append(Detections(boxes, own[:, 4].astype(np.float32), ids, image_size=image_size(record.image)))
    return score(detections, records, names).ap


def precisions(bench: Bench) -> dict[str, float]:
    """AP in float32 and bfloat16 as ``--precision auto`` measures it, 0 where there is no bfloat16."""
    bench.run(bench.predict("ours", bench.links(1), 640, "--precision", "auto", "--calibration", bench.data))
    kept = [load_calibration(file) for file in (bench.work / "cache").glob("*/calibration-*.json")]
    measured = kept[0] if kept else None
    if measured is None:
        return {"float32": 0.0, "bfloat16": 0.0, "lower": 0.0}
    lower = float(measured.allows_lower)
    return {"float32": measured.ap_float32, "bfloat16": measured.ap_lower, "lower": lower}


def rows_of(bench: Bench) -> dict[str, tuple[str, Callable[[str], dict[str, float]]]]:
    """The rows of the table: name -> (unit, measurement of one side)."""
    first = next(iter(sorted(bench.links(1).iterdir())))
    lower = ("--precision", "auto", "--calibration", bench.data)
    auto = {"ours": lower, "theirs": ()}
    folder = bench.links(FOLDER_IMAGES)
    other = {"ours": "ours", "theirs": "ultralytics"}
    return {
        "predict, 640, whole path": ("ms", lambda whose: per_image(bench, whose, 640)),
        "predict, 320, whole path": ("ms", lambda whose: per_image(bench, whose, 320)),
        "predict, 640, --precision auto": ("ms", lambda whose: per_image(bench, whose, 640, *auto[whose])),
        "cold process, first result": ("s", lambda whose: whole(bench, bench.predict(whose, first, 640, save=True))),
        f"validation of {bench.data.name}, whole process": ("s", lambda whose: whole(bench, validation(bench, whose))),
        "folder of 1,000 images, images saved": (
            "s",
            lambda whose: whole(bench, bench.predict(whose, folder, 640, save=True)),
        ),
        "Ultralytics: predict, 640, whole path": ("ms", lambda whose: per_image(bench, other[whose], 640)),
        "Ultralytics: predict, 320, whole path": ("ms", lambda whose: per_image(bench, other[whose], 320)),
    }


def main() -> None:
    """Run what is not finished and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--env", "--data", "--weights", "--work"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--page", type=Path, help="where the table goes, its raw values next to it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="measure only rows with this in their names")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--images", type=int, default=128, help="N, for times per image")
    a = parser.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    fonts = a.work / "home" / ".config" / "Ultralytics"
    fonts.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", fonts / "Arial.ttf")
    bench = Bench(make_environment(a.env), a.data.resolve(), a.weights.resolve(), a.work.resolve(), a.threads, a.images)
    state = bench.work / "rounds.json"
    kept = json.loads(state.read_text()) if state.is_file() else {"found": {}, "rounds": {}}
    checks: dict[str, Callable[[], dict[str, float]]] = {
        "first run ever, with compiling": lambda: first_run(bench),
        "detections at 640": lambda: agreement(bench, 640),
        "detections at 320": lambda: agreement(bench, 320),
        "AP on the data by one evaluator": lambda: average_precision(bench),
        "--precision auto": lambda: precisions(bench),
    }
    for name, check in checks.items():
        if name not in kept["found"]:
            kept["found"][name] = check()
            print(name, kept["found"][name], flush=True)
            state.write_text(json.dumps(kept, indent=1))
    rows = {name: row for name, row in rows_of(bench).items() if a.only in name}
    for number in range(a.rounds):
        for name, (unit, measure) in rows.items():
            runs = kept["rounds"].setdefault(name, [])
            if len(runs) <= number:
                order = ("ours", "theirs") if number % 2 else ("theirs", "ours")
                runs.append({whose: measure(whose) for whose in order} | {"load": {"before": os.getloadavg()[0]}})
                print(number, name, unit, runs[-1], flush=True)
                state.write_text(json.dumps(kept, indent=1))
    setting = f"{bench.weights.name} on {bench.data.name}; {processor()}, {bench.threads} threads per process"
    units = {name: unit for name, (unit, _) in rows.items()}
    text = page(f"{PEERS[0]} and {PEERS[1]}", setting, bench.images, units, kept)
    print(text)
    if a.page:
        a.page.write_text(text)
        a.page.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
