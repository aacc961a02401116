"""Predicted latency: exact where times follow the model, and never less for more of everything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import regard
from regard.graph.diagram import diagram
from regard.profiling import prediction
from regard.profiling.prediction import calibrate

FACTORS = np.array([3e-11, 7e-10, 5e-6])


def test_the_factors_of_a_machine_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def times(detector: Any, _images: Any, _repeats: int) -> list[float]:
        found: list[float] = (prediction._features(detector, diagram(detector, 128)) @ FACTORS).tolist()
        return found

    monkeypatch.setattr(prediction, "row_latencies", times)
    base = regard.load("odd-one-out")
    model = calibrate(base, diagram(base, 128))
    assert model.factors == pytest.approx(FACTORS, rel=1e-6)
    edited = regard.insert(base, "MultiHeadSelfAttention", after="p4")
    drawn = diagram(edited, 128)
    assert model.milliseconds(edited, drawn) == pytest.approx(1e3 * sum(times(edited, None, 1)))
    assert model.milliseconds(edited, drawn) > 1e3 * model.base
