"""What `regard predict` could run a network in, in turn, and what crowds cost: the measurements behind docs/speed.md.

    python benchmarks/backends.py --out docs/results
    python benchmarks/backends.py --quick --out /tmp/backends

yolov5n for one image, without decoding and NMS: PyTorch plain, folded and channels last, compiled, in bfloat16; ONNX
Runtime and OpenVINO in float32 and OpenVINO in bfloat16. Then the suppression of ten boxes an object and the assignment
of labels to anchors, for a growing number of objects in one image. Writes ``backends.json`` (what it holds is not
measured again) and ``backends.md``.
"""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from kept import Kept, about, ratios, spread, write
from roofline import crowd
from torch import Tensor, nn

import regard
from regard.config import DEFAULT_RECIPE, DetectSettings
from regard.costing.latency import latencies_in_turn
from regard.inference.prepare import prepare
from regard.inference.prepared import has_bfloat16, open_onnxruntime, open_openvino
from regard.nms import suppress
from regard.nn.folding import fold_batch_norm
from regard.training.assign import assign
from regard.types import Targets

CPU = torch.device("cpu")
MODEL = "yolov5n"
PLAIN = "PyTorch, plain"
SIZES, OBJECTS = (640, 320), (250, 500, 1000, 2000, 4000)
GRIDS = ((80, 80), (40, 40), (20, 20))
"""Cells of the three levels at 640 px."""


def networks(imgsz: int, folder: Path) -> dict[str, Callable[[], object]]:
    """Return the same network in everything that could run it."""
    detector = regard.load(MODEL).eval()
    folded = copy.deepcopy(detector)
    fold_batch_norm(folded)
    folded = folded.to(memory_format=torch.channels_last)
    images = torch.rand(1, 3, imgsz, imgsz)
    last = images.to(memory_format=torch.channels_last)
    prepare(detector, MODEL, "onnxruntime", folder)
    pixels = torch.randint(256, (1, 3, imgsz, imgsz), dtype=torch.uint8).numpy()
    compiled: nn.Module = torch.compile(Raw(folded))
    found: dict[str, Callable[[], object]] = {
        PLAIN: partial(detector.raw, images),
        "PyTorch, folded, channels last": partial(folded.raw, last),
        "PyTorch, folded, channels last, torch.compile": partial(compiled, last),
        "PyTorch, folded, channels last, bfloat16": partial(lower, folded, last),
        "ONNX Runtime, float32": partial(open_onnxruntime(folder), pixels),
        "OpenVINO, float32": partial(open_openvino(folder), pixels),
    }
    if has_bfloat16():
        found["OpenVINO, bfloat16"] = partial(open_openvino(folder, lower=True), pixels)
    return found


class Raw(nn.Module):
    """A detector without decoding, as something that can be compiled."""

    def __init__(self, detector: regard.Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> what the head gives."""
        return self.detector.raw(images)


def lower(detector: regard.Detector, images: Tensor) -> object:
    """Run the network in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        return detector.raw(images)


def measure_networks(imgsz: int, repeats: int) -> dict[str, Any]:
    """Return the seconds of each, in turn."""
    with TemporaryDirectory() as folder:
        found = networks(imgsz, Path(folder))
        for function in found.values():  # the first call compiles
            with torch.inference_mode():
                function()
        return {"seconds": dict(zip(found, latencies_in_turn(list(found.values()), CPU, repeats), strict=True))}


def measure_crowds(counts: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """Return the seconds of suppression and of assignment for each number of objects."""
    settings = DetectSettings(max_det=max(counts))
    head = regard.load(MODEL).head
    functions = [partial(suppress, crowd(n), settings) for n in counts]
    for n in counts:
        boxes = torch.cat((torch.rand(n, 2), torch.full((n, 2), 0.05)), 1)
        targets = Targets(torch.zeros(n, dtype=torch.long), torch.zeros(n, dtype=torch.long), boxes)
        functions.append(partial(assign, targets, head.anchors, GRIDS, DEFAULT_RECIPE.loss.anchor_threshold))
    times = latencies_in_turn(functions, CPU, repeats)
    names = [f"{what} {n}" for what in ("suppress", "assign") for n in counts]
    return {"seconds": dict(zip(names, times, strict=True))}


def page(document: dict[str, Any], command: str) -> str:
    """Return the figures as Markdown."""
    lines = [
        "# What a network could run in, and what crowds cost",
        "",
        f"{about(document)} Command: `{command}`.",
        "",
        "yolov5n, one image, the network alone, everything in turn. *Times as fast* is as the plain form: the median",
        "of paired runs, least and greatest.",
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
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    os.environ["OMP_NUM_THREADS"] = str(a.threads)  # what the other runtimes go by
    sizes, objects, repeats = ((64,), (3, 7), 2) if a.quick else (SIZES, OBJECTS, 15)
    kept = Kept(a.out / "backends.json", {"sizes": list(sizes), "objects": list(objects)})
    for size in sizes:
        kept.once(f"{size} px", partial(measure_networks, size, repeats))
    kept.once("crowds", partial(measure_crowds, objects, repeats))
    write(a.out / "backends.md", page(kept.document, "python benchmarks/backends.py" + " --quick" * a.quick))
    print(a.out / "backends.md")


if __name__ == "__main__":
    main()
