"""Cost per image from 100 to 20,000 images, and training by two processes, for docs/results/performance.md.

    python benchmarks/scale.py --work runs/scale --out docs/results
    python benchmarks/scale.py --quick --work /tmp/scale --out /tmp/performance

Scenes of `regard.data.synthetic` are written as small JPEGs with YOLO labels. The detector is the small odd-one-out at
64 pixels, so that what is around the network shows. Every stage and count runs in a separate process, after a warm-up
on the smallest count: checking the data, loading labels, a training epoch and what is around it (one process, no
cache), validation, and prediction in a folder without saving images. Then yolov5n is trained by one process and by
two, each of half the cores in threads, and by two separate runs that do not communicate: what the
machine allows. Writes ``performance-scale.json`` (what it contains is not measured again) and ``performance.md``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import torch
import yaml
from fresh import forget_peak, in_fresh_process, memory, report
from kept import Kept, write
from performance_page import page_of

import regard
from regard.config import SaveSettings
from regard.data.check import check_data
from regard.data.formats import load_data
from regard.data.synthetic import SIZE, TASKS, scene
from regard.prediction import predict_iter, save_detections
from regard.runtimes import open_predictor

COUNTS, QUICK_COUNTS = (100, 1000, 20_000), (8, 16, 40)
MODEL, IMGSZ, BATCH = "odd-one-out", 64, 32
TASK = "local"
HELD_OUT = 20
"""Images that training validates on, so that little of its time goes there."""
REPEATS = {100: 5, 1000: 3}
"""Of a count, in one process; others run once."""
QUIET: dict[str, Any] = {"workers": 0, "cache": "none", "plots": False, "batch": BATCH, "imgsz": IMGSZ}


def write_set(work: Path, counts: Sequence[int]) -> None:
    """Write the images and labels that are not there, and of each count its list, descriptions and folder."""
    total = max(counts) + HELD_OUT
    for name in ("images", "labels"):
        (work / name).mkdir(parents=True, exist_ok=True)
    for index in range(total):
        if not label_of(work, index).is_file():
            write_scene(work, index)
    write_list(work / "held-out.txt", range(max(counts), total))
    for count in counts:
        write_list(work / f"{count}.txt", range(count))
        own = {"train": f"{count}.txt"}
        splits = {"check": own, "train": own | {"val": "held-out.txt"}, "val": own | {"val": f"{count}.txt"}}
        for stage, lists in splits.items():
            write(work / f"{stage}-{count}.yaml", yaml.safe_dump({**lists, "names": list(TASKS[TASK])}))
        folder = work / f"folder-{count}"
        folder.mkdir(exist_ok=True)
        for index in range(count):
            link = folder / f"{index:06}.jpg"
            if not link.exists():
                link.hardlink_to(work / "images" / link.name)


def label_of(work: Path, index: int) -> Path:
    """The label file of an image; it is written last."""
    return work / "labels" / f"{index:06}.txt"


def write_scene(work: Path, index: int) -> None:
    """Write one image with its labels."""
    drawn = scene(0, "train", index)
    cv2.imwrite(str(work / "images" / f"{index:06}.jpg"), cv2.cvtColor(drawn.read(), cv2.COLOR_RGB2BGR))
    rows = zip(drawn.is_square, (drawn.corners + drawn.sides[:, None] / 2) / SIZE, drawn.sides / SIZE, strict=True)
    write(label_of(work, index), "".join(f"{int(c)} {x:.6f} {y:.6f} {s:.6f} {s:.6f}\n" for c, (x, y), s in rows))


def write_list(file: Path, indices: Iterable[int]) -> None:
    """Write a list of images."""
    write(file, "".join(f"./images/{index:06}.jpg\n" for index in indices))


def trained(work: Path, count: int) -> Path:
    """Weights that find something, so that there is as much to suppress and to score as in real use."""
    folder = work / "weights"
    if not (folder / "metrics.json").is_file():
        epochs = 6 if count >= COUNTS[1] else 1
        regard.train(regard.load(MODEL), work / f"train-{count}.yaml", folder=folder, epochs=epochs, **QUIET)
    return folder / "best.safetensors"


def check(work: Path, count: int) -> dict[str, float]:
    """The seconds of checking a data set, and of loading its labels alone."""
    seconds, _ = _timed(lambda: load_data(work / f"check-{count}.yaml"))
    return {"load": seconds, "check": _timed(lambda: check_data(load_data(work / f"check-{count}.yaml")))[0]}


def train(work: Path, count: int) -> dict[str, float]:
    """The seconds of a training epoch, and of all around it without validation."""
    folder = work / f"train-{count}-{os.getpid()}-{time.monotonic_ns()}"
    data = work / f"train-{count}.yaml"
    seconds, _ = _timed(lambda: regard.train(regard.load(MODEL), data, folder=folder, epochs=1, **QUIET))
    row = results(folder)[-1]
    epoch = float(row["train_seconds"])
    return {"epoch": epoch, "around": seconds - epoch - float(row["val_seconds"])}


def val(work: Path, count: int) -> dict[str, float]:
    """The seconds of validation."""
    weights = work / "weights" / "best.safetensors"
    return {"val": _timed(lambda: regard.validate(weights, work / f"val-{count}.yaml", imgsz=IMGSZ))[0]}


def predict(work: Path, count: int) -> dict[str, float]:
    """The seconds of predicting in a folder, tables saved, no images."""
    weights = work / "weights" / "best.safetensors"
    predictor = open_predictor(weights, device="cpu", imgsz=IMGSZ, parallel=True)

    def run() -> None:
        stream = predict_iter(predictor, str(work / f"folder-{count}"), imgsz=IMGSZ)
        save_detections(stream, work / "found", SaveSettings(save_images=False))

    return {"predict": _timed(run)[0]}


STAGES: Mapping[str, Callable[[Path, int], dict[str, float]]] = {
    "check": check,
    "train": train,
    "val": val,
    "predict": predict,
}


def _timed(run: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = run()
    return time.perf_counter() - began, found


def run_stage(work: Path, stage: str, count: int, smallest: int) -> dict[str, Any]:
    """The seconds of each repeat, and the most memory in MB that the process had since the warm-up."""
    STAGES[stage](work, smallest)
    forget_peak()
    runs = [STAGES[stage](work, count) for _ in range(REPEATS.get(count, 1))]
    return {"count": count, "seconds": {key: [run[key] for run in runs] for key in runs[0]}, "peak": memory("VmHWM")}


def results(folder: Path) -> list[dict[str, str]]:
    """The table of a training run."""
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def ddp(work: Path, count: int, imgsz: int) -> dict[str, float]:
    """Images per second by one process, by two, and by two separate runs (both together)."""
    threads = max((os.cpu_count() or 1) // 2, 1)
    found = {}
    for name, devices, runs in (("one", 1, 1), ("two", 2, 1), ("beside", 1, 2)):
        folders = [work / f"ddp-{name}-{i}-{time.monotonic_ns()}" for i in range(runs)]
        settings = f"--imgsz {imgsz} --batch 32 --epochs 3 --workers 0 --cache ram --no-plots --device cpu"
        command = [sys.executable, "-m", "regard", "train", "yolov5n", "--data", str(work / f"train-{count}.yaml")]
        command += [*settings.split(), "--devices", str(devices), "-o"]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        started = [subprocess.Popen([*command, str(f)], env=environment, stdout=subprocess.DEVNULL) for f in folders]
        if sum(process.wait() for process in started):
            raise RuntimeError(f"failed: {command}")
        rates = [[float(row["images_per_second"]) for row in results(folder)] for folder in folders]
        found[name] = sum(median(rate[1:]) for rate in rates)  # the first epoch warms up
    return found


def main() -> None:
    """Measure what is not there and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/scale"), help="where images and runs are kept")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--quick", action="store_true", help="8 to 40 images: to see that it works")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3, help="of training by one process and two, in turn")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    work, counts = a.work.resolve(), QUICK_COUNTS if a.quick else COUNTS
    if a.task:
        return report(run_stage(work, **json.loads(a.task)))
    ddp_count, ddp_imgsz, rounds = (counts[0], 64, 1) if a.quick else (96, 320, a.rounds)
    os.environ["REGARD_CACHE"] = str(work / "cache")
    write_set(work, sorted({*counts, ddp_count}))
    trained(work, counts[1])
    settings = {"counts": list(counts), "model": MODEL, "imgsz": IMGSZ, "ddp": [ddp_count, ddp_imgsz]}
    kept = Kept(a.out / "performance-scale.json", settings)
    for stage in STAGES:
        for count in counts:
            kept.once(f"{stage} {count}", partial(_in_process, work, stage, count, counts[0], a.threads))
    for number in range(rounds):
        kept.once(f"ddp {number}", partial(ddp, work, ddp_count, ddp_imgsz))
    write(a.out / "performance.md", page_of(a.out))
    print(a.out / "performance.md")
    return None


def _in_process(work: Path, stage: str, count: int, smallest: int, threads: int) -> dict[str, Any]:
    task = {"stage": stage, "count": count, "smallest": smallest}
    arguments = ["--work", str(work), "--threads", str(threads)]
    found: dict[str, Any] = in_fresh_process(Path(__file__), task, arguments, {"OMP_NUM_THREADS": str(threads)})
    return found


if __name__ == "__main__":
    main()
