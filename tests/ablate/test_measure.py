"""What a variant costs, against sums and activations counted here."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from tiny_studies import tiny_plan

from regard.ablate import measure
from regard.ablate.measure import measure_costs
from regard.ablate.variants import Lineup
from regard.graph.cost import row_costs
from regard.graph.detector import Detector


@pytest.fixture(scope="module")
def detectors() -> dict[str, Detector]:
    torch.set_num_threads(1)
    lineup = Lineup(tiny_plan(insert=["MultiHeadSelfAttention@p4"], control="none"))
    return {entry.name: lineup.start(entry, 0).eval() for entry in lineup.entries()}


def test_every_value_is_what_it_says(detectors: dict[str, Detector], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def latencies(functions, device, repeats):  # type: ignore[no-untyped-def]
        asked.extend((len(functions), repeats))
        assert device == torch.device("cpu")
        return [[0.002, 0.003, 0.005], [0.007, 0.011, 0.013]]

    def shares(detector, *_):  # type: ignore[no-untyped-def]
        """Half of the time is attention's, and a fifth another's."""
        is_plain = detector is detectors["base"]
        return [] if is_plain else [SimpleNamespace(by_time=2.0), SimpleNamespace(by_time=1.25)]

    monkeypatch.setattr(measure, "latencies_in_turn", latencies)
    monkeypatch.setattr(measure, "bounds", shares)
    costs = measure_costs(detectors, imgsz=96, repeats=3)
    assert asked == [2, 3]
    assert [list(cost.latency_ms) for cost in costs.values()] == [[2, 3, 5], [7, 11, 13]]
    for name, detector in detectors.items():
        assert costs[name].parameters == sum(p.numel() for p in detector.parameters())
        assert costs[name].flops == sum(cost.flops for cost in row_costs(detector, 96))
    base, variant = costs.values()
    assert variant.flops > base.flops
    assert (base.bound, variant.bound) == (1, pytest.approx(1 / 0.3))


def test_the_peak_is_of_what_a_forward_pass_makes(detectors: dict[str, Detector]) -> None:
    """More than the largest map, less than all of them, and four times as much on an image of twice the side."""
    sizes: list[int] = []
    model = detectors["base"]
    hooks = [
        module.register_forward_hook(lambda _m, _i, out: sizes.append(out.nbytes) if torch.is_tensor(out) else None)
        for module in model.modules()
    ]
    model(torch.rand(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    small, large = (measure_costs({"base": model}, imgsz=imgsz, repeats=1)["base"].peak_mib for imgsz in (64, 128))
    assert max(sizes) / 2**20 <= small <= sum(sizes) / 2**20
    assert large == pytest.approx(4 * small, rel=0.05)


def test_the_real_latencies_come_one_a_repeat(detectors: dict[str, Detector]) -> None:
    costs = measure_costs(detectors, imgsz=512, repeats=9)  # where mixing is enough to be seen on a busy machine
    assert all(len(cost.latency_ms) == 9 and min(cost.latency_ms) > 0 for cost in costs.values())
    assert costs["base"].bound == 1 < costs["MultiHeadSelfAttention@p4"].bound
