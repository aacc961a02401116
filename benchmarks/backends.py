"""The runtimes for `regard predict`, and the cost of many objects: the measurements behind docs/speed.md.

    python benchmarks/backends.py --out docs/results
    python benchmarks/backends.py --quick --out /tmp/backends

yolov5n for one image, without decoding and NMS: PyTorch plain, folded and channels last, compiled, in bfloat16; ONNX
Runtime and OpenVINO in float32 and OpenVINO in bfloat16. Then the suppression of ten boxes per object and assignment
of labels to anchors, for a growing number of objects in one image. Writes ``backends.json`` (what it contains is not
measured again) and ``backends.md``.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import torch
from fresh import in_fresh_process, report
from kept import Kept, about, ratios, spread, write
from roofline import compiled as compiled_run
from roofline import crowd, lower
from torch import Tensor, nn

import regard
from regard.config import DEFAULT_RECIPE, DetectSettings
from regard.geometry.nms import suppress
from regard.graph.detector import Detector
from regard.nn.heads.yolov5_loss import assign
from regard.profiling.latency import latencies_in_turn
from regard.runtimes import open_predictor
from regard.runtimes.table import RUNTIMES
from regard.types import Targets

Call: TypeAlias = Callable[[], object]

CPU = torch.device("cpu")
MODEL = "yolov5n"
PLAIN, LOWER = "PyTorch, plain", "OpenVINO, bfloat16"
CALLS = 30
"""Runs of a network in one process that count."""
SIZES, OBJECTS = (640, 320), (250, 500, 1000, 2000, 4000)
GRIDS = ((80, 80), (40, 40), (20, 20))
"""Cells of the three levels at 640 px."""


def plain(imgsz: int, _: Path) -> Call:
    """The network as it was loaded."""
    return partial(regard.load(MODEL).eval().raw, torch.rand(1, 3, imgsz, imgsz))


def folded(imgsz: int, _: Path) -> Call:
    """The network as `regard predict` runs it in PyTorch."""
    return partial(_folded().raw, _images(imgsz))


def compiled(imgsz: int, _: Path) -> Call:
    """The same, compiled."""
    network: nn.Module = torch.compile(Raw(_folded()))
    return partial(network, _images(imgsz))


def folded_lower(imgsz: int, _: Path) -> Call:
    """The same, not compiled, in bfloat16."""
    return partial(lower, _folded(), _images(imgsz))


def in_runtime(imgsz: int, folder: Path, *, runtime: str, bfloat16: bool = False) -> Call:
    """The network compiled for a runtime."""
    pixels = torch.randint(256, (1, 3, imgsz, imgsz), dtype=torch.uint8).numpy()
    return compiled_run(regard.load(MODEL), runtime, folder, pixels, bfloat16=bfloat16)


NETWORKS: dict[str, Callable[[int, Path], Call]] = {
    PLAIN: plain,
    "PyTorch, folded, channels last": folded,
    "PyTorch, folded, channels last, torch.compile": compiled,
    "PyTorch, folded, channels last, bfloat16": folded_lower,
    "ONNX Runtime, float32": partial(in_runtime, runtime="onnxruntime"),
    "OpenVINO, float32": partial(in_runtime, runtime="openvino"),
    LOWER: partial(in_runtime, runtime="openvino", bfloat16=True),
}
"""What the network could run in: given the side of the input and a folder for compiled models."""


def _folded() -> Detector:
    detector = open_predictor(MODEL, device="cpu", backend="torch")
    assert isinstance(detector, Detector)
    return detector


def _images(imgsz: int) -> Tensor:
    return torch.rand(1, 3, imgsz, imgsz).to(memory_format=torch.channels_last)


class Raw(nn.Module):
    """A detector without decoding, as something that can be compiled."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> what the head gives."""
        return self.detector.raw(images)


def measure_networks(imgsz: int, rounds: int, threads: int) -> dict[str, Any]:
    """The seconds of each in every round; each in its own process, as pools of threads disturb each other."""
    names = [name for name in NETWORKS if name != LOWER or RUNTIMES["openvino"].has_bfloat16()]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with TemporaryDirectory() as folder:
        for number in range(rounds):
            for name in names[:: -1 if number % 2 else 1]:
                task = {"name": name, "imgsz": imgsz, "folder": folder}
                found = in_fresh_process(Path(__file__), task, ["--threads", str(threads)], {})
                seconds[name].append(found["seconds"])
    return {"seconds": seconds}


def measure_network(name: str, imgsz: int, folder: str) -> dict[str, float]:
    """The median seconds of a network that runs again and again."""
    call = NETWORKS[name](imgsz, Path(folder))
    return {"seconds": median(latencies_in_turn([call], CPU, CALLS)[0])}


def measure_crowds(counts: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """The seconds of suppression and of assignment for each number of objects."""
    settings = DetectSettings(max_det=max(counts))
    anchors = regard.load(MODEL).head.get_buffer("anchors")
    functions = [partial(suppress, crowd(n), settings) for n in counts]
    for n in counts:
        boxes = torch.cat((torch.rand(n, 2), torch.full((n, 2), 0.05)), 1)
        targets = Targets(torch.zeros(n, dtype=torch.long), torch.zeros(n, dtype=torch.long), boxes)
        functions.append(partial(assign, targets, anchors, GRIDS, DEFAULT_RECIPE.loss.anchor_threshold))
    times = latencies_in_turn(functions, CPU, repeats)
    names = [f"{what} {n}" for what in ("suppress", "assign") for n in counts]
    return {"seconds": dict(zip(names, times, strict=True))}


def page(document: dict[str, Any], command: str) -> str:
    """The figures as Markdown."""
    lines = [
        "# Runtimes for a network, and what many objects cost",
        "",
        f"{about(document)} Command: `{command}`.",
        "",
        f"yolov5n, one image, the network alone, each in a separate process (median of {CALLS} calls), in turn in",
        "every round. *Times as fast* is as the plain form: the median of paired rounds, least and greatest.",
    ]
    for name, row in document["rows"].items():
        if name == "crowds":
            lines += ["", "## Objects in one image", "", *_crowds(row["seconds"])]
            continue
        lines += ["", f"## {name}", "", "| in | ms | times as fast |", "|---|--:|---|"]
        for what, seconds in row["seconds"].items():
            gain = spread(ratios(row["seconds"][PLAIN], seconds))
            lines.append(f"| {what} | {1e3 * median(seconds):.1f} | {gain} |")
    return "\n".join(lines) + "\n"


def _crowds(seconds: dict[str, list[float]]) -> list[str]:
    counts = sorted({int(name.split()[1]) for name in seconds})
    lines = ["| objects | suppression of ten boxes each, ms | assignment of labels, ms |", "|--:|--:|--:|"]
    for n in counts:
        suppressed, assigned = (1e3 * median(seconds[f"{what} {n}"]) for what in ("suppress", "assign"))
        lines.append(f"| {n:,} | {suppressed:.1f} | {assigned:.2f} |")
    return lines


def main() -> None:
    """Measure what is not there and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--quick", action="store_true", help="64 pixels and few objects: to see that it works")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--task", help=argparse.SUPPRESS)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    os.environ["OMP_NUM_THREADS"] = str(a.threads)  # what the other runtimes go by
    if a.task:
        return report(measure_network(**json.loads(a.task)))
    sizes, objects, rounds, repeats = ((64,), (3, 7), 1, 2) if a.quick else (SIZES, OBJECTS, 5, 15)
    kept = Kept(a.out / "backends.json", {"sizes": list(sizes), "objects": list(objects)})
    for size in sizes:
        kept.once(f"{size} px", partial(measure_networks, size, rounds, a.threads))
    kept.once("crowds", partial(measure_crowds, objects, repeats))
    write(a.out / "backends.md", page(kept.document, "python benchmarks/backends.py" + " --quick" * a.quick))
    print(a.out / "backends.md")
    return None


if __name__ == "__main__":
    main()
