"""Tiny models and runs that the tests of training share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import PLAIN, TINY, Train

import regard
from regard.graph.detector import Detector
from regard.training.run import Run


@pytest.fixture
def train(tmp_path: Path) -> Train:
    def start(model: Detector, name: str = "run", **settings: object) -> Run:
        fixed = {"epochs": 1, "imgsz": 64, "batch": 4, "workers": 0, "plots": False, "recipe": PLAIN, "device": "cpu"}
        chosen = {"data": TINY, **fixed, **settings}
        return regard.train(model, folder=tmp_path / name, **chosen)  # type: ignore[arg-type]

    return start


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Detector:
    torch.manual_seed(5)
    return regard.load(getattr(request, "param", "odd-one-out"))


@pytest.fixture
def gated(model: Detector) -> Detector:
    return regard.insert(model, "SE", after="p4", options={"reduction": 4})
