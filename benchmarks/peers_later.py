"""Predict and validate YOLOv8 and later with regard and with Ultralytics' own commands, in turn; print ratios.

    python benchmarks/peers_later.py --env PATH/TO/PEERS --data ../shared/data/coco128 --work runs/peers-later \
        --weights ../shared/reference/anchor-free/yolo11n/yolo11n.pt ../shared/reference/anchor-free/yolo26n/yolo26n.pt

``--env`` is as for ``peers.py``, whose processes and clocks these are. Ultralytics predicts and validates with its
defaults on as many threads; regard with the same thresholds and as many images per batch. Each round runs both sides,
in alternating order; the load of the machine is printed, since other work changes ratios by tens of per cent.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from statistics import median

import yaml
from peers import Bench, make_environment, per_image, whole

THRESHOLDS = ("--conf", 0.25, "--iou", 0.7, "--max-det", 300)
START = """
import sys
import torch
torch.set_num_threads(int(sys.argv[1]))
torch.set_num_threads = lambda count: None  # it would take one thread on two cores
from ultralytics import YOLO
model = YOLO(sys.argv[2])
"""
PREDICT = (
    START
    + """
for _ in model.predict(sys.argv[3], imgsz=int(sys.argv[4]), device="cpu", stream=True, save=False):
    pass
"""
)
VALIDATE = (
    START
    + """
model.val(data=sys.argv[3], imgsz=640, device="cpu", batch=16, workers=0, plots=False)
"""
)


class Later(Bench):
    """The same bench, whose other side is Ultralytics."""

    def theirs(self, *arguments: object) -> list[str]:
        """A program in the other environment; its first argument is the program."""
        program, *rest = map(str, arguments)
        return [str(self.peer.with_name("python")), "-c", program, str(self.threads), str(self.weights), *rest]

    def predict(self, whose: str, source: Path, size: int, *extra: object, save: bool = False) -> list[str]:
        """See `Bench.predict`; nothing is saved."""
        if whose == "ours":
            return super().predict(whose, source, size, *THRESHOLDS, *extra, save=save)
        return self.theirs(PREDICT, source, size)

    def validate(self, whose: str) -> list[str]:
        """The command of a side that validates in batches of 16."""
        if whose == "ours":
            what = ("val", self.weights, "--data", self.data, "--iou", 0.7, "--protocol", "ultralytics")
            return self.ours(*what)
        description = yaml.safe_load((self.data / "data.yaml").read_text()) | {"path": str(self.data)}
        (self.work / "data.yaml").write_text(yaml.safe_dump(description))
        return self.theirs(VALIDATE, self.work / "data.yaml")


def main() -> None:
    """Run what is not finished, and print one row for each model and task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--env", "--data", "--work"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--weights", type=Path, nargs="+", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--images", type=int, default=128, help="N, for times per image")
    a = parser.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    state = a.work.resolve() / "rounds.json"
    kept = json.loads(state.read_text()) if state.is_file() else {}
    peer = make_environment(a.env)
    benches = [
        Later(peer, a.data.resolve(), weights.resolve(), a.work.resolve(), a.threads, a.images) for weights in a.weights
    ]
    for bench in benches:  # compiling is no part of what is measured
        bench.run(bench.predict("ours", bench.links(1), 640))
    for number in range(a.rounds):
        for bench in benches:
            weights = bench.weights
            for task in ("predict", "val"):
                runs = kept.setdefault(f"{weights.stem} {task}", [])
                if len(runs) > number:
                    continue
                found: dict[str, dict[str, float]] = {}
                for whose in ("ours", "theirs") if number % 2 else ("theirs", "ours"):
                    is_val = task == "val"
                    found[whose] = whole(bench, bench.validate(whose)) if is_val else per_image(bench, whose, 640)
                runs.append(found | {"load": {"after": os.getloadavg()[0]}})
                print(number, weights.stem, task, runs[-1], flush=True)
                state.write_text(json.dumps(kept, indent=1))
    print("| model and task | ours | theirs | theirs / ours | least to greatest | CPU ratio | load |")
    print("|---" + "|--:" * 6 + "|")
    for name, runs in kept.items():
        ratios = sorted(run["theirs"]["value"] / run["ours"]["value"] for run in runs)
        cpu = median(run["theirs"]["cpu"] / run["ours"]["cpu"] for run in runs)
        ours, theirs = (median(run[whose]["value"] for run in runs) for whose in ("ours", "theirs"))
        load = max(run["load"]["after"] for run in runs)
        cells = (f"{ours:.1f}", f"{theirs:.1f}", f"{median(ratios):.2f}", f"{ratios[0]:.2f} to {ratios[-1]:.2f}")
        print(f"| {name} | {' | '.join(cells)} | {cpu:.2f} | {load:.0f} |")


if __name__ == "__main__":
    main()
