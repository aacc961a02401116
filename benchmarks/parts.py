"""The effect of each change to training alone: the part before and after it, in turn.

    python benchmarks/parts.py --data ../shared/data/bccd --out docs/results
    python benchmarks/parts.py --quick --out /tmp/parts

yolov5n, AdamW, the default batch. Every repeat runs before and after once, so that each ratio is of one moment.
Without ``--data`` images are drawn. Writes ``training-parts.json`` (not measured again while it is there) and
``training-parts.md``.
"""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from kept import Kept, about, ratios, spread, write
from roofline import image_files
from steps import Step
from torch import nn
from torch.optim import AdamW

import regard
from regard.data.cache import Uncached
from regard.data.images import ImageFile
from regard.data.letterbox import fit_long_side
from regard.nn.fuse import fold_batch_norm
from regard.profiling.latency import latencies_in_turn
from regard.training.ema import Ema
from regard.training.optim import parameter_groups

CPU = torch.device("cpu")
MODEL, BATCH = "yolov5n", 16


@dataclass(frozen=True)
class Part:
    """A part of training, as it would be done plainly and as it is done.

    Attributes:
        words: which part, and what was changed.
        before: runs it plainly.
        after: runs it as it is.
    """

    words: str
    before: Callable[[], object]
    after: Callable[[], object]


def steps(batch: int, imgsz: int) -> list[Part]:
    """A whole training step in other orders of memory and precisions."""
    plain, last = torch.contiguous_format, torch.channels_last

    def step(lower: bool, order: torch.memory_format) -> Callable[[], object]:
        return Step(regard.load(MODEL), batch, imgsz, lower=lower, order=order).whole

    before = step(False, plain)
    what = f"step of {batch} images at {imgsz} px: "
    return [
        Part(what + "channels last", before, step(False, last)),
        Part(what + "bfloat16", before, step(True, plain)),
        Part(what + "bfloat16 and channels last", before, step(True, last)),
    ]


def images(files: Sequence[Path], imgsz: int) -> list[Part]:
    """The reading of a few images, as the first epoch does it, and every one without a cache."""
    sources = [ImageFile(path) for path in files]
    reduced = Uncached(sources, imgsz)

    def whole() -> None:
        for source in sources:
            fit_long_side(source.read(), imgsz, enlarge=False)

    def smaller() -> None:
        for index in range(len(sources)):
            reduced.read(index)

    return [Part(f"{len(files)} images read for {imgsz} px: JPEGs reduced while decoded", whole, smaller)]


def updates() -> list[Part]:
    """What follows the gradients: the optimiser and the average of the weights."""
    model = regard.load(MODEL)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-8)

    def optimizer(**how: bool) -> Callable[[], object]:
        own = copy.deepcopy(model)
        for mine, given in zip(own.parameters(), model.parameters(), strict=True):
            mine.grad = given.grad
        return AdamW([{"params": group} for group in parameter_groups(own).values()], lr=1e-6, **how).step

    ema, slow = Ema(model), Ema(model).model
    return [
        Part("AdamW: one fused call", optimizer(foreach=False), optimizer(fused=True)),
        Part("average of the weights: one call for all", partial(one_by_one, slow, model), partial(ema.update, model)),
    ]


def one_by_one(average: nn.Module, model: nn.Module) -> None:
    """Move the average of every tensor by itself."""
    with torch.no_grad():
        for ours, theirs in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
            if ours.is_floating_point():
                ours.lerp_(theirs, 0.001)
            else:
                ours.copy_(theirs)


def validation(batch: int, imgsz: int) -> list[Part]:
    """The network's pass of a validation."""
    plain = regard.load(MODEL).eval()
    folded = copy.deepcopy(plain)
    fold_batch_norm(folded)
    given = torch.rand(batch, 3, imgsz, imgsz)
    last = given.to(memory_format=torch.channels_last)
    folded = folded.to(memory_format=torch.channels_last)
    what = f"network validating {batch} images: batch norms folded, channels last"
    return [Part(what, lambda: plain.raw(given), lambda: folded.raw(last))]


def measure(part: Part, repeats: int) -> dict[str, Any]:
    """The seconds of both sides, in turn."""
    before, after = latencies_in_turn([part.before, part.after], CPU, repeats)
    return {"before": before, "after": after}


def page(document: dict[str, Any], command: str) -> str:
    """The figures as Markdown."""
    lines = [
        "# Training, part by part",
        "",
        f"{about(document)} Command: `{command}`.",
        "",
        "Each change alone compared with the plain way, in turn; the ratio is before / after, the median of paired",
        "runs, least and greatest.",
        "",
        "| part: what was changed | before, ms | after, ms | ratio |",
        "|---|--:|--:|--:|",
    ]
    for words, row in document["rows"].items():
        before, after = (1e3 * median(row[key]) for key in ("before", "after"))
        lines.append(f"| {words} | {before:.3g} | {after:.3g} | {spread(ratios(row['before'], row['after']))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure what is not there and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="images to read; drawn ones without")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--quick", action="store_true", help="two images of 64 pixels: to see that it works")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    batch, imgsz, repeats = (2, 64, 2) if a.quick else (BATCH, 320, 15)
    kept = Kept(a.out / "training-parts.json", {"batch": batch, "imgsz": imgsz})
    with TemporaryDirectory() as folder:
        files = image_files(a.data, Path(folder))
        for part in (*steps(batch, imgsz), *images(files, imgsz), *updates(), *validation(batch, imgsz)):
            kept.once(part.words, partial(measure, part, repeats))
    command = "python benchmarks/parts.py" + " --data BCCD" * bool(a.data) + " --quick" * a.quick
    write(a.out / "training-parts.md", page(kept.document, command))
    print(a.out / "training-parts.md")


if __name__ == "__main__":
    main()
