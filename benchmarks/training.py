"""Train YOLOv5n with regard and with YOLOv5's own command, in turn, and compare pace, memory and AP.

    python benchmarks/training.py --data ../shared/data/bccd --weights ../shared/weights/yolov5n.pt \
        --work runs/training --peer PATH/TO/OTHER/ENVIRONMENT/bin/yolov5 --page docs/results/training.md

Both sides run as whole processes by their own commands and defaults: what starting, preparing, validating every epoch
and drawing take is in it. One run of the peer's is twice as long, to see what its AP becomes and how long ours takes to
get there. Runs that are finished in ``--work`` are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
from bccd import SPLITS, Result, Study, peer_environment, peer_scores, peer_training
from peers import PEERS, Bench

import regard
from regard.data.formats import load_data

LONGER = 2
"""How many times as many epochs the peer's long run has."""

Run = dict[str, float | dict[str, Result]]


def ours(study: Study, bench: Bench, seed: int) -> Run:
    """Train with regard, and return seconds, memory, the seconds at the end of each epoch, and AP by split."""
    folder = study.work / f"ours-{seed}"
    size = ("--data", study.data, "--imgsz", study.imgsz)
    options = ("--epochs", study.epochs, "--batch", study.batch, "--seed", seed, "-o", folder)
    used = bench.run(bench.ours("train", study.weights, *size, *options))
    scores = {}
    for split in SPLITS:
        said = str(bench.run(bench.ours("val", folder, *size, "--split", split, "--format", "json"))["printed"])
        found = json.loads(said[said.index("{") :])
        scores[split] = {key: found[key] for key in ("ap", "ap50")}
    return _kept(used) | {"scores": scores}


def theirs(study: Study, bench: Bench, seed: int, epochs: int) -> Run:
    """Train with YOLOv5, and return the same."""
    folder = study.work / f"theirs-{epochs}-{seed}"
    used = bench.run(peer_training(study, bench.peer, seed, epochs, folder))
    return _kept(used) | {"scores": peer_scores(study, bench.peer, folder)}


def _kept(used: dict[str, float | str]) -> Run:
    return {key: float(used[key]) for key in ("seconds", "cpu", "megabytes")} | {"load": os.getloadavg()[0]}


def seconds_to(study: Study, seed: int, run: Run, goal: Result) -> float | None:
    """Return the seconds from the start of our process to the first epoch that has both the AP and the AP50."""
    with (study.work / f"ours-{seed}" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    spent = [float(row["train_seconds"]) + float(row["val_seconds"]) for row in rows]
    outside = float(run["seconds"]) - sum(spent)  # type: ignore[arg-type]  # starting, and what comes at the end
    for i, row in enumerate(rows):
        if float(row["val/ap"]) >= goal["ap"] and float(row["val/ap50"]) >= goal["ap50"]:
            return outside + sum(spent[: i + 1])
    return None


def page(study: Study, runs: dict[str, list[Run]], images: int) -> str:
    """Return the results as Markdown."""
    mine, peers, (long,) = runs["ours"], runs["theirs"], runs["long"]
    goal = long["scores"]["val"]  # type: ignore[index]
    times = [t for seed, run in enumerate(mine) if (t := seconds_to(study, seed, run, goal)) is not None]
    ratio = f", {float(long['seconds']) / statistics.median(times):.1f} times as fast (median)" if times else ""  # type: ignore[arg-type]
    loads = _all(runs, "load")
    machine = f"{os.cpu_count()} cores of {platform.machine()}, torch {torch.__version__.split('+')[0]}"
    lines = [
        f"# Training on {study.data.name}: regard {regard.__version__} beside YOLOv5 ({PEERS[0]}), {date.today()}",
        "",
        f"{study.weights.name}, {images} training images, {study.imgsz} px, batch {study.batch},",
        f"{study.epochs} epochs, seeds 0 to {len(mine) - 1}, {study.threads} threads on {machine}.",
        "Both sides' default commands, whole processes, in turn. Load before each:",
        f"{min(loads):.1f} to {max(loads):.1f}.",
        "",
        "| what | ours | theirs | ratio, median | least to greatest |",
        "|---|--:|--:|--:|---|",
        _row("seconds", mine, peers, "seconds", inverse=False),
        _row("images a second, whole process", mine, peers, "pace", inverse=True, images=images * study.epochs),
        _row("peak memory of the main process, MB", mine, peers, "megabytes", inverse=False),
        "",
        f"YOLOv5 after {LONGER * study.epochs} epochs (seed 0, {long['seconds']:.0f} s): AP50 {goal['ap50']:.3f}, AP",
        f"{goal['ap']:.3f} on val. Ours has both after {', '.join(f'{t:.0f}' for t in times)} s by seed{ratio}.",
        "",
        "| detector | split | AP50 | AP | AP50 of each seed | AP of each seed |",
        "|---|---|--:|--:|---|---|",
    ]
    for name, side in (("regard", mine), ("YOLOv5", peers)):
        for split in SPLITS:
            ap50, ap = ([run["scores"][split][key] for run in side] for key in ("ap50", "ap"))  # type: ignore[index]
            each = [", ".join(f"{value:.3f}" for value in values) for values in (ap50, ap)]
            lines.append(f"| {name} | {split} | {_spread(ap50)} | {_spread(ap)} | {each[0]} | {each[1]} |")
    return "\n".join(lines) + "\n"


def _row(name: str, mine: list[Run], peers: list[Run], key: str, *, inverse: bool, images: int = 0) -> str:
    pairs = [
        (images / float(a["seconds"]), images / float(b["seconds"])) if inverse else (float(a[key]), float(b[key]))  # type: ignore[arg-type]
        for a, b in zip(mine, peers, strict=True)
    ]
    ratios = [a / b if inverse else b / a for a, b in pairs]
    left, right = (statistics.median(values) for values in zip(*pairs, strict=True))
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"| {name} | {left:.4g} | {right:.4g} | {statistics.median(ratios):.2f} | {spread} |"


def _all(runs: dict[str, list[Run]], key: str) -> list[float]:
    return [float(run[key]) for side in runs.values() for run in side]  # type: ignore[arg-type]


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


def main() -> None:
    """Run what is not finished and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--weights", "--work", "--peer"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--page", type=Path, help="where the table goes, its raw values beside it")
    for name, default in (("--seeds", 5), ("--epochs", 15), ("--imgsz", 320), ("--batch", 16)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    a = parser.parse_args()
    work = a.work.resolve()
    study = Study(a.data.resolve(), a.weights.resolve(), work, a.epochs, a.imgsz, a.batch, a.threads)
    bench = Bench(a.peer, study.data, study.weights, work, a.threads, images=0)
    work.mkdir(parents=True, exist_ok=True)
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
    _add(runs, "long", 0, lambda seed: theirs(study, bench, seed, LONGER * study.epochs), state)
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
