"""How far each stage is from the machine's measured limits, for docs/results/performance.md.

    python benchmarks/roofline.py --data ../shared/data/coco128 --out docs/results
    python benchmarks/roofline.py --quick --out /tmp/performance

Limits: large matrix products in float32 and bfloat16, copying memory, and OpenCV decoding JPEGs from memory. Stages: an
image file read, letterboxed, yolov5n in PyTorch and as `regard predict` runs it, a training step's forward pass, loss
and backward pass, and suppression with many objects. All run in turn in every repeat, so that a stage and the
limits are measured at the same time. Without ``--data`` images are drawn. Writes ``performance-roofline.json`` (not
measured again while it is there) and ``performance.md``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from kept import Kept, ratios, write
from numpy.typing import NDArray
from performance_page import page_of
from steps import Step
from torch import Tensor

import regard
from regard.config import DetectSettings
from regard.data.formats import load_data
from regard.data.images import ImageFile
from regard.data.letterbox import letterbox
from regard.data.synthetic import scene
from regard.geometry.nms import suppress
from regard.graph.cost import row_costs
from regard.graph.detector import Detector
from regard.graph.spec import IMAGE
from regard.nn.fuse import fold_batch_norm
from regard.profiling.latency import latencies_in_turn
from regard.runtimes.base import Session, SessionOptions
from regard.runtimes.cache import COMPILED, model_file
from regard.runtimes.export import write_cached
from regard.runtimes.table import RUNTIMES

CPU = torch.device("cpu")
MODEL, IMAGES, BATCH = "yolov5n", 16, 2
SIZE_OF = {"float32": 4, "bfloat16": 2}
CROWD = 100
"""Objects among which is suppressed, ten boxes each."""
BACKWARD = 2
"""Times the arithmetic of a forward pass: by inputs and by weights."""


@dataclass(frozen=True)
class Work:
    """What a stage has to do at least; the limits say how long that takes.

    Attributes:
        flops: of each layer, a multiplication and an addition count as two.
        moved: bytes that each layer has to read and write.
        precision: of the arithmetic, "float32" or "bfloat16".
        megapixels: to decode from JPEG.
    """

    flops: tuple[float, ...] = (0.0,)
    moved: tuple[float, ...] = (0.0,)
    precision: str = "float32"
    megapixels: float = 0.0


@dataclass(frozen=True)
class Rates:
    """What the machine can do in a second, in one repeat.

    Attributes:
        float32: FLOPs.
        bfloat16: FLOPs.
        copied: bytes, read and written.
        megapixels: decoded from JPEG.
    """

    float32: float
    bfloat16: float
    copied: float
    megapixels: float


def least(work: Work, rates: Rates) -> tuple[float, str]:
    """The seconds that work takes at the limits, and which limit has the greater part of them."""
    if work.megapixels:
        return work.megapixels / rates.megapixels, "JPEG decoding"
    by_flops = [flops / getattr(rates, work.precision) for flops in work.flops]
    by_bytes = [moved / rates.copied for moved in work.moved]
    seconds = sum(map(max, by_flops, by_bytes))
    arithmetic = sum(a for a, b in zip(by_flops, by_bytes, strict=True) if a > b)
    return seconds, f"{work.precision} products" if arithmetic > seconds / 2 else "memory"


def network_work(detector: Detector, imgsz: int, precision: str, *, batch: int = 1, passes: int = 1) -> Work:
    """What a network has to do: the FLOPs of each row; its inputs and weights read, its output written.

    Args:
        detector: the network.
        imgsz: side of the input in pixels.
        precision: of arithmetic and memory.
        batch: images.
        passes: 1 forward, 2 backward.
    """
    costs = row_costs(detector, imgsz)
    values = {IMAGE: 3 * imgsz**2}
    values |= {row.name: _values(cost.shape) for row, cost in zip(detector.spec.layers, costs, strict=True)}
    moved = [
        SIZE_OF[precision]
        * passes
        * (batch * (sum(values[name] for name in row.inputs) + values[row.name]) + c.parameters)
        for row, c in zip(detector.spec.layers, costs, strict=True)
    ]
    return Work(tuple(float(passes * batch * c.flops) for c in costs), tuple(map(float, moved)), precision)


def _values(shapes: Sequence[tuple[int, ...]]) -> int:
    return sum(int(np.prod(shape)) for shape in shapes)


def image_files(data: Path | None, folder: Path) -> list[Path]:
    """Image files of a data set, or drawn ones of 640 x 480 pixels, as JPEGs."""
    if data:
        records = next(iter(load_data(data).splits.values()))
        return [Path(record.image.name) for record in records if record.image.name.lower().endswith((".jpg", ".jpeg"))][
            :IMAGES
        ]
    files = [folder / f"{i}.jpg" for i in range(IMAGES)]
    for i, file in enumerate(files):
        cv2.imwrite(str(file), cv2.resize(scene(0, "val", i).read(), (640, 480)))
    return files


def crowd(objects: int) -> NDArray[np.float32]:
    """Return (N, 84) predictions of an image, ten of them on each object."""
    rng = np.random.default_rng(0)
    rows = np.zeros((max(25_200, 10 * objects), 84), np.float32)  # as many as at 640 px, or more
    centres = rng.uniform(20, 620, (objects, 2)).repeat(10, axis=0)
    rows[: len(centres), :2] = centres + rng.normal(0, 2, centres.shape)
    rows[: len(centres), 2:4] = rng.uniform(28, 36, centres.shape)
    rows[: len(centres), 4] = rng.uniform(0.3, 1, len(centres))
    return rows


Stage = tuple[Callable[[], object], Work]


def limits(side: int, megabytes: int, files: Sequence[Path]) -> tuple[dict[str, Callable[[], object]], Rates]:
    """What is run to measure the limits, and how much of each that is."""
    a, b = torch.randn(2, side, side)
    low_a, low_b = a.bfloat16(), b.bfloat16()
    source = torch.zeros(megabytes * 2**20, dtype=torch.uint8)
    target = torch.empty_like(source)
    encoded = [np.fromfile(file, np.uint8) for file in files]
    runs: dict[str, Callable[[], object]] = {
        "float32": lambda: a @ b,
        "bfloat16": lambda: low_a @ low_b,
        "copied": lambda: target.copy_(source),
        "megapixels": lambda: [cv2.imdecode(e, cv2.IMREAD_COLOR) for e in encoded],
    }
    return runs, Rates(2.0 * side**3, 2.0 * side**3, 2.0 * source.numel(), _megapixels(files))


def _megapixels(files: Sequence[Path]) -> float:
    return sum(float(np.prod(ImageFile(file).read().shape[:2])) for file in files) / 1e6


def data_stages(files: Sequence[Path], imgsz: int) -> dict[str, Stage]:
    """Reading, placing and suppressing."""
    images = [ImageFile(file).read() for file in files]
    moved = float(sum(image.size for image in images) + len(images) * 3 * imgsz**2)
    rows = crowd(CROWD)
    return {
        f"read {len(files)} image files": (
            lambda: [ImageFile(file).read() for file in files],
            Work(megapixels=_megapixels(files)),
        ),
        f"letterbox {len(files)} images": (
            lambda: [letterbox(image, (imgsz, imgsz)) for image in images],
            Work(moved=(moved,)),
        ),
        f"suppress {10 * CROWD:,} boxes": (
            lambda: suppress(rows, DetectSettings()),
            Work(moved=(float(rows.nbytes),)),
        ),
    }


def inference_stages(imgsz: int, folder: Path) -> dict[str, Stage]:
    """The network for one image, in PyTorch and compiled."""
    detector = regard.load(MODEL).eval()
    work = {precision: network_work(detector, imgsz, precision) for precision in SIZE_OF}
    fold_batch_norm(detector)
    detector.to(memory_format=torch.channels_last)
    images = torch.rand(1, 3, imgsz, imgsz).to(memory_format=torch.channels_last)
    pixels = torch.randint(256, (1, 3, imgsz, imgsz), dtype=torch.uint8).numpy()
    found: dict[str, Stage] = {
        "forward, PyTorch": (partial(detector.raw, images), work["float32"]),
        "forward, ONNX Runtime": (compiled(detector, "onnxruntime", folder, pixels), work["float32"]),
        "forward, PyTorch, bfloat16": (partial(lower, detector, images), work["bfloat16"]),
    }
    if RUNTIMES["openvino"].has_bfloat16():
        run = compiled(detector, "openvino", folder, pixels, bfloat16=True)
        found["forward, OpenVINO, bfloat16"] = (run, work["bfloat16"])
    return found


def compiled(
    detector: Detector, runtime: str, folder: Path, pixels: NDArray[np.uint8], *, bfloat16: bool = False
) -> Callable[[], object]:
    """A run of a network as `regard predict` compiles it, which is made in ``folder`` where it is not there."""
    entry = folder / runtime
    file = model_file(entry, RUNTIMES[runtime])
    if not file.is_file():
        entry.mkdir()
        write_cached(detector, MODEL, RUNTIMES[runtime], entry)
    session = RUNTIMES[runtime].open(file, SessionOptions(bfloat16=bfloat16, compiled=entry / COMPILED))
    assert isinstance(session, Session)
    return partial(session.run, pixels, session.header.outputs)


def lower(detector: Detector, images: Tensor) -> object:
    """Run a network in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        return detector.raw(images)


def training_stages(imgsz: int) -> dict[str, Stage]:
    """The parts of a training step, one after another, in both precisions."""
    found: dict[str, Stage] = {}
    for precision in SIZE_OF:
        detector = regard.load(MODEL)
        forward = network_work(detector, imgsz, precision, batch=BATCH)
        backward = network_work(detector, imgsz, precision, batch=BATCH, passes=BACKWARD)
        step = Step(detector, BATCH, imgsz, lower=precision == "bfloat16")
        cells = sum(int(np.prod(shape)) for shape in row_costs(detector, imgsz)[-1].shape)
        updated = 4.0 * 7 * sum(p.numel() for p in detector.parameters())  # p, g, m, v read; p, m, v written
        name = f"training, {BATCH} images, {precision}"
        found[f"{name}: forward"] = (step.forward, forward)
        found[f"{name}: loss"] = (step.loss, Work(moved=(4.0 * BATCH * cells,)))
        found[f"{name}: backward"] = (step.backward, backward)
        found[f"{name}: optimiser"] = (step.update, Work(moved=(updated,)))
    return found


def measure(files: Sequence[Path], imgsz: int, repeats: int, side: int, megabytes: int) -> dict[str, Any]:
    """The figures of limits and stages."""
    with TemporaryDirectory() as folder:
        inference = inference_stages(imgsz, Path(folder))
        stages = data_stages(files, imgsz) | inference | training_stages(imgsz)
        runs, amounts = limits(side, megabytes, files)
        named: list[tuple[str, Callable[[], object]]] = [*runs.items()]
        for name, (run, _) in stages.items():
            # Each runtime has separate threads, which go on waiting for work a while: its second call counts.
            named += [(name, run)] * (2 if name in inference else 1)
        timed = latencies_in_turn([run for _, run in named], CPU, repeats)
    spent = {name: times for (name, _), times in zip(named, timed, strict=True)}
    rates = [Rates(**{k: getattr(amounts, k) / spent[k][i] for k in runs}) for i in range(repeats)]
    found = []
    for name, (_, work) in stages.items():
        times = [least(work, rate) for rate in rates]
        seconds = [value for value, _ in times]
        bound = max((words for _, words in times), key=[words for _, words in times].count)
        row = {"name": name, "bound": bound, "seconds": spent[name], "least": seconds}
        found.append(row | {"times": ratios(spent[name], seconds)})
    return {"stages": found, "rates": [asdict(rate) for rate in rates]}


def words_of(rates: Sequence[dict[str, float]]) -> dict[str, str]:
    """The limits as text."""
    middle = {key: median(rate[key] for rate in rates) for key in rates[0]}
    return {
        "float32 products": f"{middle['float32'] / 1e9:,.0f} GFLOP/s",
        "bfloat16 products": f"{middle['bfloat16'] / 1e9:,.0f} GFLOP/s",
        "memory": f"{middle['copied'] / 1e9:.1f} GB/s read and written",
        "JPEG decoding": f"{middle['megapixels']:.0f} megapixels/s, one thread",
    }


def main() -> None:
    """Measure if it is not there and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a data set whose JPEGs are read")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--quick", action="store_true", help="64 pixels, 2 repeats: to see that it works")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=11)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    imgsz, repeats, side, megabytes = (64, 2, 256, 16) if a.quick else (640, a.repeats, 3072, 512)
    images = a.data.name if a.data else "drawn"
    kept = Kept(a.out / "performance-roofline.json", {"imgsz": imgsz, "images": images, "repeats": repeats})
    with TemporaryDirectory() as folder:
        files = image_files(a.data, Path(folder))
        found = kept.once("stages", partial(measure, files, imgsz, repeats, side, megabytes))
    kept.once("limits", lambda: {"words": words_of(found["rates"])})
    write(a.out / "performance.md", page_of(a.out))
    print(a.out / "performance.md")


if __name__ == "__main__":
    main()
