"""A prepared detector as a finder: a runtime gives the raw levels, and only likely cells are decoded, in float32."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.inference.cache import MODEL, OPENVINO_FORMS, PreparedHeader
from regard.openvino_core import openvino_core

INPUT = "images"
Float32 = NDArray[np.float32]
Run: TypeAlias = Callable[[NDArray[np.uint8]], list[Float32]]
"""(B, 3, H, W) images -> for each level (B, A * (5 + classes), rows, columns), before the sigmoid."""

MOST_STREAMS = 4
"""Pictures that are looked at side by side at most: each holds its feature maps in memory."""
MARGIN = 1e-3
"""Room for rounding where logits are held against a threshold first, and probabilities afterwards."""


class PreparedFinder:
    """A prepared model; see `regard.finder.ParallelFinder`.

    Args:
        header: what the model says about itself.
        run: runs it, by all threads.
        open_streams: opens it anew, to be run by so many threads at once, each with its share of the processor.
    """

    def __init__(self, header: PreparedHeader, run: Run, open_streams: Callable[[int], Run] | None = None) -> None:
        self.header, self.run, self._open_streams = header, run, open_streams

    def side_by_side(self) -> tuple[PreparedFinder, int]:
        """See `regard.finder.ParallelFinder.side_by_side`."""
        return self._streams

    @cached_property
    def _streams(self) -> tuple[PreparedFinder, int]:
        streams = min(threads(), MOST_STREAMS)
        if streams == 1 or self._open_streams is None:
            return self, 1
        return PreparedFinder(self.header, first_alone(self._open_streams(streams))), streams

    @property
    def names(self) -> Mapping[int, str]:
        """Class names, by class index."""
        return self.header.names

    @property
    def max_stride(self) -> int:
        """The number that the sides of the input must be multiples of, in pixels."""
        return self.header.max_stride

    def rows(self, images: NDArray[np.uint8], conf: float) -> list[Float32]:
        """See `regard.finder.Finder.rows`."""
        levels = self.run(_planes(images))
        return [self._decode([level[i] for level in levels], conf) for i in range(len(images))]

    def _decode(self, levels: list[Float32], conf: float) -> Float32:
        """Decode the cells of one image that may score above ``conf``, as `regard.nn.heads.YOLOv5Head.decode` does.

        No class scores above objectness, so that all other cells are left out before anything is computed.
        """
        least = math.log(conf / (1 - conf)) - MARGIN if 0 < conf < 1 else math.copysign(math.inf, conf - 0.5)
        found = []
        for level, anchors, stride in zip(levels, self.header.anchors, self.header.strides, strict=True):
            _, height, width = level.shape
            cells = level.reshape(len(anchors), -1, height, width)
            anchor, y, x = np.nonzero(cells[:, 4] > least)
            s = 1 / (1 + np.exp(-cells[anchor, :, y, x].astype(np.float32)))
            corner = np.stack([x, y], axis=1).astype(np.float32)
            centre = (2 * s[:, :2] - np.float32(0.5) + corner) * np.float32(stride)
            prior = np.array(anchors, dtype=np.float32)[anchor] * np.float32(stride)
            found.append(np.concatenate([centre, (2 * s[:, 2:4]) ** 2 * prior, s[:, 4:5] * s[:, 5:]], axis=1))
        rows = np.concatenate(found)
        return rows[rows[:, 4:].max(axis=1) > conf]


def first_alone(run: Run) -> Run:
    """Return the same for several threads, none of which begins before a first call has ended.

    On their first call bindings fill static variables; in OpenVINO's (2026.4) a second thread that comes meanwhile
    waits for that with Python's lock in its hand, which the first one needs, and both wait for ever.
    """
    lock, is_open = threading.Lock(), threading.Event()

    def guarded(images: NDArray[np.uint8]) -> list[Float32]:
        if is_open.is_set():
            return run(images)
        with lock:
            levels = run(images)
            is_open.set()
        return levels

    return guarded


def _planes(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (B, 3, H, W) images with each channel whole in memory, as the runtimes read them."""
    if images.flags.c_contiguous:
        return images
    planes = np.empty(images.shape, np.uint8)
    for own, image in zip(planes, images, strict=True):
        cv2.split(image.transpose(1, 2, 0), list(own))  # writes in place, ten times as fast as a transposed copy
    return planes


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Return how many threads to use: torch's where it is loaded, else ``OMP_NUM_THREADS``, else one a core."""
    if torch := sys.modules.get("torch"):
        return int(torch.get_num_threads())
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else cores()


def open_onnxruntime(folder: Path, streams: int = 1) -> Run:
    """Open a prepared model with ONNX Runtime, in float32.

    Args:
        folder: its entry in the cache, where the optimised graph is kept too.
        streams: how many threads will run it at the same time.
    """
    from regard.inference.optimised import open_session

    session = open_session(folder, max(threads() // streams, 1))

    def run(images: NDArray[np.uint8]) -> list[Float32]:
        return list(session.run(None, {INPUT: images}))

    return run


def open_openvino(folder: Path, streams: int = 1, *, lower: bool = False) -> Run:
    """Open a prepared model with OpenVINO.

    Args:
        folder: its entry in the cache, where the compiled model is kept too.
        streams: how many threads will run it at the same time.
        lower: compute in bfloat16 rather than float32.
    """
    config = {
        "INFERENCE_PRECISION_HINT": "bf16" if lower else "f32",
        "INFERENCE_NUM_THREADS": threads(),
        "NUM_STREAMS": streams,
    }
    if os.access(folder, os.W_OK):
        config["CACHE_DIR"] = os.fspath(folder / OPENVINO_FORMS)
    compiled = openvino_core().compile_model(folder / MODEL, "CPU", config)
    count = len(compiled.outputs)
    own = threading.local()

    def run(images: NDArray[np.uint8]) -> list[Float32]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        own.request.infer({INPUT: images}, share_inputs=True)
        # Read before the same thread asks for the next image.
        return [own.request.get_output_tensor(i).data for i in range(count)]

    return run


def has_bfloat16() -> bool:
    """Tell whether OpenVINO is here and this processor computes in bfloat16."""
    try:
        return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except ImportError:
        return False
