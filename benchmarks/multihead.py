"""yolov5n with our multi-head self-attention compared with the same block on ``torch.nn.MultiheadAttention``.

    python benchmarks/multihead.py --out docs/results
    python benchmarks/multihead.py --quick --out /tmp/multihead

The block stands behind a gate after p3, p4 or p5, in the whole network. Theirs is called as by default, which returns
weights, and with ``need_weights=False``. Inference is one image, without decoding and NMS; a training step is two
images: forward, loss, backward, optimiser. *Equal precision*: only the block differs. *As shipped*: ours as
`regard predict` and `regard train` run it by default; theirs in float32 and PyTorch's own order of memory, for
inference with batch norms folded, as YOLOv5 runs. Times are taken in turn in one process; memory each in a process of
its own, the peak beyond what was there before the first run. Writes ``multihead.json`` (not measured again while it
is there) and ``multihead.md``.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from attention import OnTokens
from fresh import forget_peak, in_fresh_process, memory, report
from kept import Kept, write
from multihead_page import GROUPS, page
from steps import Step
from torch import Tensor, nn

import regard
from regard.config import TrainSettings
from regard.graph.detector import Detector
from regard.nn.fuse import fold_batch_norm
from regard.profiling.latency import latencies_in_turn
from regard.runtimes import open_predictor
from regard.runtimes.base import Session
from regard.training.precision import resolve

CPU = torch.device("cpu")
KINDS, TRAINING_BATCH = ("inference", "training"), 2


class WithWeights(OnTokens):
    """Four heads of torch's, called as by default: the weights are returned, averaged over the heads."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(nn.MultiheadAttention(in_channels, 4, batch_first=True), lambda m, t: m(t, t, t)[0])


class WithoutWeights(OnTokens):
    """Four heads of torch's, called with ``need_weights=False``."""

    def __init__(self, in_channels: int) -> None:
        peer = nn.MultiheadAttention(in_channels, 4, batch_first=True)
        super().__init__(peer, lambda m, t: m(t, t, t, need_weights=False)[0])


SIDES: Mapping[str, str | type[nn.Module]] = {
    "ours": "MultiHeadSelfAttention",
    "theirs": WithWeights,
    "theirs, need_weights=False": WithoutWeights,
}


class Case(NamedTuple):
    """What is measured of every side.

    Attributes:
        level: p3, p4 or p5.
        kind: "inference" or "training".
        precision: "32", "bf16" or "shipped".
        imgsz: side of the input in pixels.
    """

    level: str
    kind: str
    precision: str
    imgsz: int


def network(side: str, level: str) -> Detector:
    """Yolov5n with the block after a layer, in evaluation mode."""
    torch.manual_seed(0)
    return regard.insert(regard.load("yolov5n"), SIDES[side], after=level).eval()


def prepare(case: Case, side: str) -> tuple[Callable[[], object], str]:
    """What is timed, and in words how it runs."""
    precision, theirs_as_shipped = case.precision, False
    detector = network(side, case.level)
    if precision == "shipped":
        if side == "ours" and case.kind == "inference":
            return shipped_inference(detector, case.imgsz)
        theirs_as_shipped = side != "ours"
        precision = "32" if theirs_as_shipped else resolve(TrainSettings().precision, "cpu")
    order = torch.contiguous_format if theirs_as_shipped else torch.channels_last
    if case.kind == "training":
        step = Step(detector, TRAINING_BATCH, case.imgsz, lower=precision == "bf16", order=order)
        return step.whole, f"PyTorch, {precision}"
    if case.precision == "shipped":
        fold_batch_norm(detector)
    detector.to(memory_format=order)
    images = torch.rand(1, 3, case.imgsz, case.imgsz).to(memory_format=order)
    return partial(infer, detector, images, precision), f"PyTorch, {precision}"


def infer(detector: Detector, images: Tensor, precision: str) -> object:
    """Run the network once."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        return detector.raw(images)


def shipped_inference(detector: Detector, imgsz: int) -> tuple[Callable[[], object], str]:
    """A run of the network as `regard predict` opens it from a file with weights."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "weights.safetensors"
        regard.save(detector, file)
        predictor = open_predictor(file, device="cpu")
    images = torch.randint(256, (1, 3, imgsz, imgsz), dtype=torch.uint8)
    if isinstance(predictor, Session):
        return partial(predictor.run, images.numpy(), predictor.header.outputs), "compiled, float32"
    assert isinstance(predictor, Detector)  # regard[fast] is not installed
    return partial(infer, predictor, images.float() / 255, "32"), "PyTorch, 32"


def times(case: Case, repeats: int) -> dict[str, Any]:
    """The times of all sides, in turn."""
    prepared = {side: prepare(case, side) for side in SIDES}
    found = latencies_in_turn([run for run, _ in prepared.values()], CPU, repeats)
    how = {side: words for side, (_, words) in prepared.items()}
    return {"seconds": dict(zip(prepared, found, strict=True)), "how": how}


def peak(case: Case, side: str) -> dict[str, float]:
    """The peak of resident memory over two runs in MB, in this process, beyond what was there before."""
    run, _ = prepare(case, side)
    forget_peak()
    before = memory("VmRSS")
    for _ in range(2):  # the second finds what an optimiser keeps
        run()
    return {"megabytes": memory("VmHWM") - before, "whole": memory("VmHWM")}


def measure(case: Case, repeats: int, threads: int) -> dict[str, Any]:
    """Times and peaks of all sides."""
    environment, arguments = {"OMP_NUM_THREADS": str(threads)}, ["--threads", str(threads)]
    tasks = {side: {"case": list(case), "side": side} for side in SIDES}
    peaks = {side: in_fresh_process(Path(__file__), task, arguments, environment) for side, task in tasks.items()}
    return case._asdict() | times(case, repeats) | {"memory": peaks}


def main() -> None:
    """Measure what is not there and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--quick", action="store_true", help="64 pixels and 3 repeats: to see that it works")
    parser.add_argument("--levels", nargs="+", default=["p3", "p4", "p5"], choices=["p3", "p4", "p5"])
    what = "bf16 takes very long without hardware for it"
    parser.add_argument("--precisions", nargs="+", default=list(GROUPS), choices=GROUPS, help=what)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--task", help=argparse.SUPPRESS)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    if a.task:
        task = json.loads(a.task)
        return report(peak(Case(*task["case"]), task["side"]))
    imgsz, repeats = (64, 3) if a.quick else (640, a.repeats)
    kept = Kept(a.out / "multihead.json", {"imgsz": imgsz, "repeats": repeats})
    for case in (Case(x, k, p, imgsz) for p in a.precisions for x in a.levels for k in KINDS):
        kept.once(" ".join(map(str, case)), partial(measure, case, repeats, a.threads))
    command = "python benchmarks/multihead.py" + " --quick" * a.quick
    if a.precisions != list(GROUPS):
        command += f" --precisions {' '.join(a.precisions)}"
    write(a.out / "multihead.md", page(kept.document, command))
    print(a.out / "multihead.md")
    return None


if __name__ == "__main__":
    main()
