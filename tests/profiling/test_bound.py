from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

import regard
from regard.graph.cost import row_costs
from regard.graph.detector import Detector
from regard.nn.counter import WatchedMixing
from regard.nn.gate import Gated
from regard.profiling.advice import bounds, with_watched_mixing
from regard.profiling.latency import latencies_in_turn, row_latencies

SIZE = 64


@pytest.fixture(scope="module")
def detector() -> Detector:
    model = regard.insert(regard.load("yolov5n"), "MultiHeadSelfAttention", after="p4", gate=False)
    return regard.insert(model, "SE", after="p5").eval()


@pytest.mark.parametrize(("level", "share"), [("p3", 54.8), ("p4", 13.2), ("p5", 1.9)])
def test_share_of_mixing_in_yolov5s(level: str, share: float) -> None:
    model = regard.insert(regard.load("yolov5s"), "MultiHeadSelfAttention", after=level, gate=False)
    costs = row_costs(model, 640)
    assert round(100 * sum(c.mixing_flops for c in costs) / sum(c.flops for c in costs), 1) == share


def test_rows_that_mix_are_bounded_and_no_others(detector: Detector) -> None:
    costs = row_costs(detector, SIZE)
    found = bounds(detector, torch.rand(1, 3, SIZE, SIZE), costs, repeats=3)
    assert [b.row for b in found] == ["p4.multiheadselfattention"]
    total = sum(c.flops for c in costs)
    mixing = 4 * 128 * (4 * 4) ** 2  # 4 C N^2 on the 4 x 4 map of 128 channels
    assert found[0].by_flops == pytest.approx(total / (total - mixing))
    assert found[0].spread[0] <= found[0].by_time <= found[0].spread[1]


def test_the_time_of_watching_does_not_count(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    """It made small models slower without their mixing than with it: a bound below 1."""

    def times(functions: Sequence[object], _: object, repeats: int) -> list[list[float]]:
        assert len(functions) == 3  # as it is, watched while it mixes, watched without
        return [[seconds] * repeats for seconds in (1.0, 1.4, 1.2)]

    monkeypatch.setattr("regard.profiling.advice.latencies_in_turn", times)
    found = bounds(detector, torch.rand(1, 3, SIZE, SIZE), row_costs(detector, SIZE), repeats=2)
    assert found[0].by_time == pytest.approx(1.0 / 0.8)
    row = detector.spec.index("p4.multiheadselfattention")
    x = torch.rand(1, 128, 3, 5)
    watched = with_watched_mixing(detector, row, leave_out=False)
    assert torch.allclose(watched.model[row](x), detector.model[row](x), atol=1e-6)


def test_the_mixing_is_left_out_of_a_copy_that_shares_all_layers(detector: Detector) -> None:
    row = detector.spec.index("p4.multiheadselfattention")
    copy = with_watched_mixing(detector, row)
    images = torch.rand(1, 3, SIZE, SIZE)
    assert isinstance(copy.model[row], WatchedMixing)
    assert all(a is b for i, (a, b) in enumerate(zip(copy.model, detector.model, strict=True)) if i != row)
    module, x = detector.model[row], torch.rand(1, 128, 3, 5)
    values = module.qkv(x.flatten(2).transpose(1, 2)).chunk(3, -1)[2]
    expected = module.out(values).transpose(1, 2).view(1, 128, 3, 5)
    assert torch.allclose(copy.model[row](x), expected, atol=1e-6)
    assert not torch.equal(copy.raw(images)[0], detector.raw(images)[0])


def test_a_gate_stays_around_what_is_left() -> None:
    model = regard.insert(regard.load("yolov5n"), "MultiHeadSelfAttention", after="p4")
    row = model.spec.index("p4.multiheadselfattention")
    gated = with_watched_mixing(model, row).model[row]
    assert isinstance(gated, Gated)
    assert isinstance(gated.module, WatchedMixing)
    assert gated.gamma is model.model[row].gamma


def test_each_row_has_a_time_and_none_is_changed(detector: Detector) -> None:
    images = torch.rand(1, 3, SIZE, SIZE)
    before = detector.raw(images)
    times = row_latencies(detector, images, repeats=2)
    assert len(times) == len(detector.model)
    assert all(t > 0 for t in times)
    assert all(torch.equal(a, b) for a, b in zip(before, detector.raw(images), strict=True))
    assert not any(layer._forward_hooks for layer in detector.model)


def test_functions_are_timed_in_turn() -> None:
    calls: list[str] = []
    functions = [lambda name=name: calls.append(name) for name in "abc"]
    times = latencies_in_turn(functions, torch.device("cpu"), repeats=3)
    assert calls == ["a", "b", "c"] * 5  # two runs to warm up
    assert [len(t) for t in times] == [3, 3, 3]


def test_c3tr_is_bounded_as_attention_is() -> None:
    model = regard.replace(regard.load("yolov5n"), "p5", "C3TR").eval()
    found = bounds(model, torch.rand(1, 3, SIZE, SIZE), row_costs(model, SIZE), repeats=1)
    assert [b.row for b in found] == ["p5"]
    assert found[0].by_flops > 1
