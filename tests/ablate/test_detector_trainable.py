"""Detectors as the subject of a study: their cost, against sums and activations counted here, and their attention."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_studies import tiny_plan

from regard.ablate import detector as detector_module
from regard.ablate.detector import attention_rows, measure_costs
from regard.ablate.variants import VariantBuilder
from regard.graph.cost import row_costs
from regard.graph.detector import Detector


@pytest.fixture(scope="module")
def detectors() -> dict[str, Detector]:
    torch.set_num_threads(1)
    builder = VariantBuilder(tiny_plan(insert=["MultiHeadSelfAttention@p4"], control="none"))
    return {variant.name: builder.start(variant, 0).eval() for variant in builder.variants}


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

    monkeypatch.setattr(detector_module, "latencies_in_turn", latencies)
    monkeypatch.setattr(detector_module, "bounds", shares)
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


BASE = "base: odd-one-out\ninsert: [{after: p4, module: MultiHeadSelfAttention, name: mix}]\n"


def test_what_replaces_attention_under_its_name_is_new(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    plan = tiny_plan(
        base=str(tmp_path / "base.yaml"), insert=["SE@p3", "SE@p4"], replace=["WindowAttention@mix"], control="none"
    )
    builder = VariantBuilder(plan)
    rows = {variant.name: attention_rows(builder.start(variant, 0)) for variant in builder.variants}
    common = rows.pop("base")
    assert common.keys() == {"mix"}
    new = {name: [layer for layer, row in own.items() if common.get(layer) != row] for name, own in rows.items()}
    # Behind SE the base's own reads another layer, and is the same.
    assert new == {"SE@p3": ["p3.se"], "SE@p4": ["p4.se"], "WindowAttention@mix": ["mix"]}
