"""A detector that is small enough to be exported in seconds; and a cache with yolov5n in it, copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import parse_spec
from regard.runtimes import open_predictor
from regard.runtimes.cache import key_of
from regard.runtimes.choose import AUTOMATIC
from regard.runtimes.table import RUNTIMES

GRAPH = """
nc: 3
anchors: [[5,6, 8,15], [15,30, 31,22]]
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, C3, [16]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, SPPF, [16, 5]]
  - {name: attention, from: -1, module: SE, args: [16, 4], gate: true}
head:
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 2], 1, Concat, [1]]
  - [-1, 1, C3, [16, False]]
  - [[8, attention], 1, Detect, [nc, anchors]]
"""
NAMES = {0: "ball", 1: "名前", 2: "cat"}

Excite = Callable[[Detector], Detector]


def _excite(detector: Detector) -> Detector:
    """Make a fresh detector answer each cell otherwise: measured batch norms, open gates, a steep head."""
    generator = torch.Generator().manual_seed(3)
    stride = detector.max_stride
    norms = [m for m in detector.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        detector.train()(torch.rand(4, 3, 5 * stride, 7 * stride, generator=generator))
        for name, parameter in detector.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(0.7)
        for conv in detector.head.m:
            conv.get_parameter("bias").zero_()
            conv.get_parameter("weight").normal_(0, 2 / conv.in_channels**0.5, generator=generator)
    return detector.eval()


@pytest.fixture(scope="session")
def small() -> Detector:
    """A detector of stride 8 at most, with a gated SE, for 3 classes."""
    torch.manual_seed(0)
    return _excite(build(parse_spec(GRAPH, None), names=NAMES))


@pytest.fixture(scope="session")
def excite() -> Excite:
    """Wake a detector with fresh weights; see above."""
    return _excite


@pytest.fixture(scope="session")
def noise() -> NDArray[np.uint8]:
    """A image to compare on, (37, 53, 3)."""
    return np.random.default_rng(5).integers(0, 256, (37, 53, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def weights(shared: Path) -> Path:
    return shared / "weights" / "yolov5n.pt"


@pytest.fixture(scope="session")
def filled(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with yolov5n in it, for each runtime that is installed."""
    folder = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGARD_CACHE", str(folder))
        for backend in AUTOMATIC:
            if RUNTIMES[backend].is_installed(writing=True):
                open_predictor(weights, device="cpu", backend=backend)
    return folder


@pytest.fixture
def cache(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in use."""
    folder = tmp_path / "cache"
    shutil.copytree(filled, folder)
    monkeypatch.setenv("REGARD_CACHE", str(folder))
    return folder


@pytest.fixture
def entry(cache: Path, weights: Path) -> Path:
    """The folder in that cache of what is compiled for ONNX Runtime."""
    return cache / key_of(weights, RUNTIMES["onnxruntime"])
