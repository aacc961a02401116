"""Replace global attention at P3, P4 or P5 by cheaper variants: the predicted speed-up and the measured one.

    python benchmarks/swap.py --out docs/results
    python benchmarks/swap.py --variants WindowAttention LinearAttention --sizes 320 640 --out runs/swap-two
    python benchmarks/swap.py --quick --out runs/swap-quick

A gated ``MultiHeadSelfAttention`` is inserted after p3, p4 or p5 of yolov5n and yolov5s, and replaced there by every
other module of the catalogue in which positions attend to others, or by those that are named. The predictions are
those of `regard cost`: the bound of any variant (mixing costs nothing, by FLOPs and by time), the ratio of the FLOPs of
the whole network, and its time with the time of the layer exchanged. The measured time is that of the whole network on
one image, as PyTorch runs it, without decoding and NMS, as in `regard cost`. At one position all networks run in turn
in every repeat; each position has a separate process, so that it finds memory in the same state. Writes ``swap.json``
(a position that it contains is not measured again), ``swap.md`` and ``swap.png``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch
from kept import Kept, in_turn, ratios, write
from swap_page import draw, page
from torch import Tensor, nn

import regard
from regard.errors import RegardError
from regard.graph.cost import row_costs
from regard.graph.detector import Detector
from regard.nn.attention import ATTENTION
from regard.profiling.advice import NOT_A_VARIANT, with_watched_mixing
from regard.profiling.latency import clock
from regard.system.resources import available_memory

BASE = "MultiHeadSelfAttention"
MODELS, LEVELS, SIZES, QUICK_SIZES = ("yolov5n", "yolov5s"), ("p3", "p4", "p5"), (320, 640, 1280), (64, 128)
CPU = torch.device("cpu")
LEAST, MOST = 3, 15
"""Smallest and largest number of repeats at a position, depending on the time."""


@dataclass(frozen=True)
class Place:
    """Where attention is inserted.

    Attributes:
        model: name in the zoo.
        level: p3, p4 or p5.
        imgsz: side of the input in pixels.
    """

    model: str
    level: str
    imgsz: int

    @property
    def name(self) -> str:
        """Key of the raw results."""
        return f"{self.model} {self.level} {self.imgsz}"


def all_variants() -> tuple[str, ...]:
    """All modules of the catalogue in which positions attend to others, except the one that is replaced."""
    return tuple(n for n, kind in ATTENTION.items() if n != BASE and kind.card.family not in NOT_A_VARIANT)


def measure(place: Place, names: tuple[str, ...], seconds: float, threads: int, shared: bool) -> dict[str, Any]:
    """Measure at one position.

    Args:
        place: the position.
        names: the variants.
        seconds: approximate time of all repeats; there are at least three.
        threads: number of threads of PyTorch.
        shared: whether other programs use the machine, so that processor time is measured.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    images = torch.rand(1, 3, place.imgsz, place.imgsz)
    plain = regard.load(place.model).eval()
    base = regard.insert(plain, BASE, after=place.level).eval()
    row = next(i for i, r in enumerate(base.spec.layers) if r.module == BASE)  # of a variant in its place too
    skipped: dict[str, str] = {}
    variants: dict[str, Detector] = {}
    for name in names:
        try:
            variants[name] = fitting(regard.insert(plain, name, after=place.level).eval(), row, place.imgsz)
        except RegardError as error:
            skipped[name] = str(error)
    networks = {"plain": plain, "base": base, "unmixed": with_watched_mixing(base, row), **variants}
    times = all_in_turn(networks, row, images, seconds, shared)
    return asdict(place) | _figures(base, variants, row, place.imgsz, times) | {"skipped": skipped}


def apart(place: Place, *arguments: Any) -> dict[str, Any]:
    """Run ``measure`` in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, place, *arguments).result()


def fitting(detector: Detector, row: int, imgsz: int) -> Detector:
    """Check that a layer needs at most half of the free memory, and return the detector.

    Raises:
        RegardError: it needs more.
    """
    needed, free = row_costs(detector, imgsz)[row].activation_bytes, free_bytes()
    if needed > free / 2:
        raise RegardError(f"needs {needed / 2**30:.1f} GiB of {free / 2**30:.1f} GiB of free memory")
    return detector


def free_bytes() -> int:
    """Memory in bytes that new processes can have."""
    return available_memory()


def all_in_turn(
    detectors: dict[str, Detector], row: int, images: Tensor, seconds: float, shared: bool
) -> dict[str, list[float]]:
    """Measure the seconds of every network, and of its layer alone as ``NAME alone``."""
    base = detectors["base"]
    x = _input_of(base, row, images)
    functions: dict[str, Callable[[], object]] = {name: partial(d.raw, images) for name, d in detectors.items()}
    alone = {name: d.model[row] for name, d in detectors.items() if name not in ("plain", "unmixed")}
    functions |= {f"{name} alone": partial(layer, x) for name, layer in alone.items()}
    began = clock(CPU)
    with torch.inference_mode():
        for function in functions.values():
            function()
    repeats = round(seconds / (clock(CPU) - began)) - 2  # the clock has two rounds of its own to warm up
    found = in_turn(list(functions.values()), min(max(repeats, LEAST), MOST), shared=shared)
    return dict(zip(functions, found, strict=True))


def _input_of(detector: Detector, row: int, images: Tensor) -> Tensor:
    seen: list[Tensor] = []

    def keep(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].clone())

    hook = detector.model[row].register_forward_pre_hook(keep)
    with torch.inference_mode():
        detector.raw(images)
    hook.remove()
    return seen[0]


def _figures(
    base: Detector, variants: dict[str, Detector], row: int, imgsz: int, times: dict[str, list[float]]
) -> dict[str, Any]:
    costs = row_costs(base, imgsz)
    total, (_, height, width) = sum(c.flops for c in costs), costs[row].shape[0]
    layer: Any = base.model[row]
    found: dict[str, Any] = {"positions": height * width, "heads": layer.module.num_heads, "free_bytes": free_bytes()}
    found |= {"bound_flops": total / (total - costs[row].mixing_flops)}
    found |= {"bound_time": ratios(times["base"], times["unmixed"])}
    found |= {"milliseconds": 1e3 * median(times["base"]), "plain_milliseconds": 1e3 * median(times["plain"])}
    found["variants"] = {}
    rest = median(times["base"]) - median(times["base alone"])  # negative if memory runs short: nothing is predicted
    for name, detector in variants.items():
        found["variants"][name] = {
            "by_flops": total / sum(c.flops for c in row_costs(detector, imgsz)),
            "by_time": median(times["base"]) / (rest + median(times[f"{name} alone"])) if rest > 0 else None,
            "measured": ratios(times["base"], times[name]),
            "milliseconds": 1e3 * median(times[name]),
        }
    return found


def main() -> None:
    """Measure what is missing and write all three files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--variants", nargs="+", choices=all_variants(), help="only these modules of the catalogue")
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="sides of the image in pixels")
    parser.add_argument("--shared", action="store_true", help="other programs run: measure processor time")
    parser.add_argument("--quick", action="store_true", help="64 and 128 pixels, as a test")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=20, help="approximate time of one position")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    names, sizes = tuple(a.variants or all_variants()), QUICK_SIZES if a.quick else tuple(a.sizes)
    kept = Kept(
        a.out / "swap.json",
        {"variants": list(names), "sizes": list(sizes)} | ({"clock": "processor"} if a.shared else {}),
    )
    for place in (Place(m, level, s) for s in sizes for m in MODELS for level in LEVELS):
        kept.once(place.name, partial(apart, place, names, a.seconds, a.threads, a.shared))
    words = ["python benchmarks/swap.py", *(["--variants", *a.variants] if a.variants else [])]
    command = " ".join([*words, *(["--sizes", *map(str, sizes)] if sizes not in (SIZES, QUICK_SIZES) else [])])
    command += " --shared" * a.shared
    draw(kept.document, a.out / "swap.png")
    write(a.out / "swap.md", page(kept.document, command + " --quick" * a.quick))
    print(a.out / "swap.md")


if __name__ == "__main__":
    main()
