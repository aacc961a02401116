"""The workbench: what it keeps, and what it forgets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from regard.api.edits import Edit
from regard.errors import RegardError
from regard.profiling.prediction import LatencyModel, calibrate
from regard.studio import bench as bench_module
from regard.studio.bench import Bench


def test_images_are_kept_up_to_a_number_and_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "MOST_BYTES", 3 * 7 * 11 * 3)
    bench, pixels = Bench(), np.zeros((7, 11, 3), np.uint8)
    keys = [bench.add_image(pixels, str(i)) for i in range(4)]
    with pytest.raises(RegardError, match="not kept"):
        bench.image(keys[0])
    assert [bench.image(key).name for key in keys[1:]] == ["1", "2", "3"]
    large = bench.add_image(np.zeros((70, 110, 3), np.uint8), "large")
    assert list(bench.images) == [large]


def test_a_measurement_gives_way_to_an_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.open_model("odd-one-out", "odd-one-out")

    def interrupted(*asked: Any) -> LatencyModel:
        with bench.changing():  # it would wait for ever, if the measurement kept others waiting
            bench.apply(Edit("insert", "p4", "SE"))
        return calibrate(*asked)

    monkeypatch.setattr(bench_module, "calibrate", interrupted)
    with pytest.raises(RegardError, match="interrupted"):
        bench.predicted()
    monkeypatch.setattr(bench_module, "calibrate", calibrate)
    model, predicted = bench.predicted()
    assert predicted >= 1e3 * model.base
    assert not any(layer._forward_pre_hooks for layer in bench.base.built.model)


def test_a_view_shares_its_tensors_and_ends_with_the_next_change() -> None:
    bench, images = Bench(), torch.rand(1, 3, 64, 64)
    bench.open_model("odd-one-out", "odd-one-out")
    view = bench.view(bench.state.built)
    assert torch.equal(view(images).boxes, bench.state.built(images).boxes)
    assert [id(tensor) for tensor in view.parameters()] == [id(tensor) for tensor in bench.state.built.parameters()]
    with bench.changing():
        bench.apply(Edit("insert", "p4", "SE"))
    with pytest.raises(RegardError, match="interrupted"):
        view(images)
    assert not any(layer._forward_pre_hooks for layer in bench.base.built.model)
