"""Train a detector with regard and with its makers' own command, in turn, and compare pace, memory and AP.

    python benchmarks/training.py --data ../shared/data/bccd --weights ../shared/weights/yolov5n.pt \
        --work runs/training --peer PATH/TO/OTHER/ENVIRONMENT/bin/yolov5 --page docs/results/training.md
    python benchmarks/training.py --data ../shared/data/bccd --family yolo11n --work runs/family \
        --peer PATH/TO/OTHER/ENVIRONMENT/bin/python --page docs/results/training-yolo11n.md

With ``--family`` both start from random weights of a stock graph, and the peer is Ultralytics' command. Both sides run
as whole processes by their own commands and defaults: what starting, preparing, validating every epoch and drawing take
is in it. One run of the peer's is twice as long (``--long`` says how many epochs, 0 leaves it out), to see what its AP
becomes and how long ours takes to get there. Runs that are finished in ``--work`` are not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
import ultralytics_peer
from bccd import SPLITS, Result, Study, peer_environment, peer_scores, peer_training
from kept import processor
from peers import PEERS, Bench
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import regard
from regard.ablate.statistics import estimate
from regard.data.formats import load_data
from regard.training.precision import resolve

Run = dict[str, Any]


@dataclass(frozen=True)
class Start(Study):
    """A study of a checkpoint, or of a stock graph from random weights.

    Attributes:
        family: name of the graph; empty for a checkpoint.
    """

    family: str = ""

    @property
    def start(self) -> Path | str:
        """What our command is given."""
        return self.family or self.weights

    @property
    def start_name(self) -> str:
        """What both sides start from, in words."""
        return f"{self.family} from random weights" if self.family else self.weights.name

    @property
    def peer(self) -> str:
        """The other package."""
        return PEERS[bool(self.family)].replace("==", " ")


def ours(study: Start, bench: Bench, seed: int) -> Run:
    """Train with regard, and return seconds, memory, AP by split, and by epoch when it was known and what it was."""
    folder = study.work / f"ours-{seed}"
    size = ("--data", study.data, "--imgsz", study.imgsz)
    options = ("--epochs", study.epochs, "--batch", study.batch, "--seed", seed, "-o", folder)
    began = time.time()
    used = bench.run(bench.ours("train", study.start, *size, *options))
    epochs = [(when - began, *measures) for when, *measures in validations(folder / "tensorboard")]
    scores = {}
    for split in SPLITS:
        said = str(bench.run(bench.ours("val", folder, *size, "--split", split, "--format", "json"))["printed"])
        found = json.loads(said[said.index("{") :])
        scores[split] = {key: found[key] for key in ("ap", "ap50")}
    return _kept(used) | {"scores": scores, "epochs": epochs}


def validations(folder: Path) -> list[tuple[float, float, float]]:
    """Of every epoch in a TensorBoard log the time of day in seconds, AP and AP50."""
    log = EventAccumulator(str(folder)).Reload()
    ap, ap50 = (log.Scalars(f"val/{name}") for name in ("ap", "ap50"))
    return [(a.wall_time, a.value, b.value) for a, b in zip(ap, ap50, strict=True)]


def theirs(study: Start, bench: Bench, seed: int, epochs: int) -> Run:
    """Train with the peer, and return the same."""
    folder = study.work / f"theirs-{epochs}-{seed}"
    if study.family:
        longer = replace(study, epochs=epochs)
        used = bench.run(ultralytics_peer.training(longer, bench.peer, study.family, seed, folder))
        return _kept(used) | {"scores": ultralytics_peer.scores(study, bench.peer, folder)}
    used = bench.run(peer_training(study, bench.peer, seed, epochs, folder))
    return _kept(used) | {"scores": peer_scores(study, bench.peer, folder)}


def _kept(used: dict[str, float | str]) -> Run:
    return {key: float(used[key]) for key in ("seconds", "cpu", "megabytes")} | {"load": os.getloadavg()[0]}


def seconds_to(run: Run, goal: Result) -> float | None:
    """The seconds from the start of our process to the first epoch that has both the AP and the AP50."""
    return next((s for s, ap, ap50 in run["epochs"] if ap >= goal["ap"] and ap50 >= goal["ap50"]), None)


def page(study: Start, runs: dict[str, list[Run]], images: int) -> str:
    """The results as Markdown."""
    mine, peers = runs["ours"], runs["theirs"]
    loads = [run["load"] for side in runs.values() for run in side]
    machine = f"{processor()}, torch {torch.__version__.split('+')[0]}"
    family = f" --family {study.family}" * bool(study.family)
    threads = f"{study.threads} threads" if study.threads else "each side's own default of threads"
    command = f"Command: `python benchmarks/training.py{family} --seeds {len(mine)}`."
    lines = [
        f"# Training on {study.data.name}: regard {regard.__version__} compared with {study.peer}, {date.today()}",
        "",
        f"{study.start_name}, {images} training images, {study.imgsz} px, batch {study.batch},",
        f"{study.epochs} epochs, seeds 0 to {len(mine) - 1}, {threads} on {machine}.",
        f"Both sides' default commands, whole processes, in turn; ours trains in {resolve('auto', 'cpu')} here. Load",
        f"before each: {min(loads):.1f} to {max(loads):.1f}. {command}",
        "",
        "| what | ours | theirs | ratio, median | least to greatest |",
        "|---|--:|--:|--:|---|",
        _row("seconds", mine, peers, "seconds", inverse=False),
        _row("images per second, whole process", mine, peers, "pace", inverse=True, images=images * study.epochs),
        _row("peak memory of the main process, MB", mine, peers, "megabytes", inverse=False),
        "",
        *[line for run in runs.get("long", []) for line in (*_to_the_goal(mine, run), "")],
        "| detector | split | AP50 | AP | AP50 of each seed | AP of each seed |",
        "|---|---|--:|--:|---|---|",
    ]
    for name, side in (("regard", mine), (study.peer, peers)):
        for split in SPLITS:
            ap50, ap = ([run["scores"][split][key] for run in side] for key in ("ap50", "ap"))
            each = [", ".join(f"{value:.3f}" for value in values) for values in (ap50, ap)]
            lines.append(f"| {name} | {split} | {_spread(ap50)} | {_spread(ap)} | {each[0]} | {each[1]} |")
    return "\n".join(lines + _differences(mine, peers)) + "\n"


def _to_the_goal(mine: list[Run], long: Run) -> list[str]:
    goal = long["scores"]["val"]
    times = [seconds_to(run, goal) for run in mine]
    known = [t for t in times if t is not None]
    ratio = f", {long['seconds'] / statistics.median(known):.1f} times as fast (median)" if known else ""
    each = ", ".join("never" if t is None else f"{t:.0f} s" for t in times)
    return [
        f"The peer after {long['epochs']} epochs (seed 0, {long['seconds']:.0f} s): AP50 {goal['ap50']:.3f}, AP",
        f"{goal['ap']:.3f} on val. Ours has both on val, by seed, after {each}{ratio}.",
    ]


def _differences(mine: list[Run], peers: list[Run]) -> list[str]:
    """The paired differences of AP with their interval, where there are several seeds."""
    if len(mine) < 2:
        return []
    lines = ["", "AP less the peer's, paired by seed, with the 95 % interval of paired t:"]
    for split in SPLITS:
        pairs = [a["scores"][split]["ap"] - b["scores"][split]["ap"] for a, b in zip(mine, peers, strict=True)]
        found = estimate(np.array(pairs))
        low, high = found.interval(0.95)
        lines.append(f"{split} {float(found.mean):+.3f} ({float(low):+.3f} to {float(high):+.3f}).")
    return lines


def _row(name: str, mine: list[Run], peers: list[Run], key: str, *, inverse: bool, images: int = 0) -> str:
    pairs = [
        (images / a["seconds"], images / b["seconds"]) if inverse else (a[key], b[key])
        for a, b in zip(mine, peers, strict=True)
    ]
    ratios = [a / b if inverse else b / a for a, b in pairs]
    left, right = (statistics.median(values) for values in zip(*pairs, strict=True))
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"| {name} | {left:.4g} | {right:.4g} | {statistics.median(ratios):.2f} | {spread} |"


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


def main() -> None:
    """Run what is not finished and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--work", "--peer"):
        parser.add_argument(name, type=Path, required=True)
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--weights", type=Path, help="a checkpoint of YOLOv5, which both sides start from")
    start.add_argument("--family", help="a stock graph of YOLOv8 and later, which both start at random")
    parser.add_argument("--page", type=Path, help="where the table goes, its raw values next to it")
    for name, default in (("--seeds", 5), ("--epochs", 15), ("--imgsz", 320), ("--batch", 16)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="0 leaves each side its own default")
    parser.add_argument("--long", type=int, help="epochs of the peer's long run: twice as many where not given")
    a = parser.parse_args()
    long = 2 * a.epochs if a.long is None else a.long
    work = a.work.resolve()
    weights = a.weights.resolve() if a.weights else Path()
    study = Start(a.data.resolve(), weights, work, a.epochs, a.imgsz, a.batch, a.threads, a.family or "")
    bench = Bench(a.peer.absolute(), study.data, study.weights, work, a.threads, images=0)
    work.mkdir(parents=True, exist_ok=True)
    if study.family:
        os.environ["YOLO_OFFLINE"] = ultralytics_peer.environment(study)["YOLO_OFFLINE"]
    else:
        peer_environment(study)
    jobs: dict[str, Callable[[int], Run]] = {
        "ours": lambda seed: ours(study, bench, seed),
        "theirs": lambda seed: theirs(study, bench, seed, study.epochs),
    }
    state = work / "runs.json"
    runs: dict[str, list[Run]] = json.loads(state.read_text()) if state.exists() else {}
    for seed in range(a.seeds):
        for name in list(jobs)[:: 1 if seed % 2 else -1]:
            _add(runs, name, seed, jobs[name], state)
    if long:
        _add(runs, "long", 0, lambda seed: theirs(study, bench, seed, long) | {"epochs": long}, state)
    text = page(study, runs, len(load_data(str(study.data)).splits["train"]))
    print(text)
    if a.page:
        a.page.write_text(text)
        a.page.with_suffix(".json").write_text(json.dumps(runs, indent=1) + "\n")


def _add(runs: dict[str, list[Run]], name: str, seed: int, job: Callable[[int], Run], state: Path) -> None:
    if len(runs.setdefault(name, [])) <= seed:
        runs[name].append(job(seed))
        print(name, seed, runs[name][-1], file=sys.stderr, flush=True)
        state.write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
