from __future__ import annotations

import json
import time
from collections.abc import Sequence

import pytest
from torch import Tensor, nn

import regard
from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.cost import attention_costs, row_costs
from regard.graph.read import parse_spec
from regard.nn.attention import ATTENTION
from regard.nn.counter import count_on_map
from regard.profiling import advice
from regard.profiling.advice import WORTH_IT, Bound, Variant, advise, variants_for, with_times
from regard.profiling.report import CostReport, CostRow


def test_a_swap_that_cannot_matter_is_called_not_worth_it() -> None:
    said = advise(Bound("p5.x", 1.02, 1.03, (1.0, 1.1)), 0.019, [Variant("Cheap", 1, 1.01, 1)])
    assert "1.9%" in said
    assert "not worth it" in said
    assert "Cheap" not in said


def test_a_swap_that_can_matter_names_variants_and_both_bounds() -> None:
    said = advise(Bound("p3.x", 2.21, 1.6, (1.5, 1.7)), 0.548, [Variant("Cheap", 1, 2.0, 1)])
    assert "1.60x as fast by measured time, 2.21x by FLOPs" in said
    assert "Cheap (2.00x)" in said
    assert "the catalogue has none" in advise(Bound("p3.x", 2.21, 1.6, (1.5, 1.7)), 0.548, [])


@pytest.mark.parametrize(
    ("by_time", "spread", "is_noisy"),
    [
        (0.23, (0.18, 1.51), True),
        (1.02, (0.97, 1.30), True),
        (1.00, (0.90, 1.01), True),
        (0.99, (0.97, 1.03), False),
        (1.02, (1.0, 1.2), False),
        (1.30, (1.1, 1.6), False),
    ],
)
def test_times_that_show_nothing_are_called_noisy(
    by_time: float, spread: tuple[float, float], *, is_noisy: bool
) -> None:
    """In every form; and no largest gain below 1 is stated."""
    bound = Bound("p4.x", 1.02, by_time, spread)
    text = advise(bound, 0.016, [Variant("Cheap", 1, 1.5, 1, 3.0)])
    report = CostReport((CostRow("p4.x", "X", 100, 2, 10.5, 1.0),), (bound,), {}, (text,), 64, "cpu", (10.0, 11.0))
    for shown in (str(report), report.to_markdown(), report._repr_html_()):
        assert ("too noisy to tell" in shown) is is_noisy
        assert "0.99x" not in shown
    assert ("0.23x" in text, "Cheap" in text) == (by_time == 0.23, not is_noisy)
    said = json.loads(report.to_json())
    assert (said["is_noisy"], said["bounds"][0]["is_noisy"]) == (is_noisy, is_noisy)


def test_times_of_layers_that_differ_much_from_run_to_run_are_called_noisy() -> None:
    rows = (CostRow("stem", "Conv", 100, 0, 10.9, 1.0),)
    spreads = (10.0, 12.0), (9.0, 12.0), (14.0, 14.5)
    calm, noisy, bimodal = (CostReport(rows, (), {}, (), 64, "cpu", spread) for spread in spreads)
    assert "9.0 to 12.0 ms; repeat on an idle machine" in noisy.noise
    assert "10.9 to 14.5 ms" in bimodal.noise  # no range that leaves out the sum of what is shown
    assert all("noisy" not in str(form) for form in (calm, calm.to_markdown(), calm._repr_html_()))
    assert all("The times are noisy" in form for form in (str(noisy), noisy.to_markdown(), noisy._repr_html_()))
    assert noisy.to_dict()["is_noisy"]


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times as on an idle machine: every second function after the first takes half as long as the others."""

    def times(functions: Sequence[object], _: object, repeats: int) -> list[list[float]]:
        return [[2e-6 - 1e-6 * (i > 0 and i % 2 == 0)] * repeats for i, _ in enumerate(functions)]

    monkeypatch.setattr(advice, "latencies_in_turn", times)


GRAPH = """
nc: 3
anchors: [[5,6, 8,15]]
backbone: [[-1, 1, Conv, [16, 3, 2]], {row}]
head: [[[1], 1, Detect, [nc, anchors]]]
"""


SLOW = [pytest.param(module, marks=pytest.mark.slow) for module in ("PartialSelfAttention", "AreaAggregation", "C3TR")]


@pytest.mark.parametrize("module", ["MultiScaleDeformable", *SLOW])
@pytest.mark.usefixtures("steady")
def test_of_a_block_with_attention_of_its_own_it_says_so(module: str) -> None:
    args = "[2]" if module == "MultiScaleDeformable" else "[16]"
    model = build(
        parse_spec(GRAPH.replace("{row}", f"{{name: mixed, from: -1, module: {module}, args: {args}}}"), None)
    )
    report = regard.cost(model, imgsz=64, repeats=1)
    assert report.variants == {"mixed": None}
    assert report.bounds[0].by_flops >= WORTH_IT
    assert "its attention is its own" in report.advice[0]
    assert "the catalogue has none" not in str(report)
    assert json.loads(report.to_json())["variants"] == {"mixed": None}


def test_variants_are_cheaper_attention_of_the_same_shape() -> None:
    model = regard.insert(regard.load("yolov5n"), "MultiHeadSelfAttention", after="p3")
    costs = row_costs(model, 640)
    ((shape,), own) = attention_costs(model, 640)["p3.multiheadselfattention"]
    attention = model.layer("p3.multiheadselfattention").module
    found = variants_for([attention], shape, own.flops, sum(c.flops for c in costs))
    assert found
    assert not {v.name for v in found} & {"SE", "MultiHeadSelfAttention"}
    assert [v.flops for v in found] == sorted(v.flops for v in found)
    assert all(v.flops < own.flops and v.speed_up > 1 for v in found)


@pytest.mark.usefixtures("steady")
def test_what_c3_attention_holds_is_exchanged_in_all_its_bottlenecks() -> None:
    model = build(parse_spec(GRAPH.replace("{row}", "{name: mixed, number: 3, module: C3Attention, args: [16]}"), None))
    report = regard.cost(model, imgsz=64, repeats=1)
    found = report.variants["mixed"]
    assert found
    one, total = found[0], report.flops
    assert one.flops == 3 * count_on_map(ATTENTION[one.name](8), 8, 32, 32).flops
    saved = 3 * count_on_map(ATTENTION["MultiHeadSelfAttention"](8), 8, 32, 32).flops - one.flops
    assert one.speed_up == pytest.approx(total / (total - saved))
    assert one.name in report.advice[0]


class Waits(nn.Module):
    """Attention that takes a known time."""

    seconds: float

    def __init__(self, _: int = 0) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(self.seconds)
        return x


def test_variants_that_are_slower_are_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {name: type(name, (Waits,), {"seconds": s}) for name, s in {"slow": 0.04, "fast": 0.0, "mid": 0.01}.items()}
    monkeypatch.setattr(advice, "ATTENTION", kinds)
    now = type("Now", (Waits,), {"seconds": 0.02})()
    given = [Variant(name, 1, 2.0, 1) for name in kinds]
    found = with_times(given, [now, now], (3, 5, 7), 0.1, repeats=1)
    assert [variant.name for variant in found] == ["fast", "mid"]
    assert found[0].by_time == pytest.approx(0.1 / 0.06, rel=0.2)  # two layers of 20 ms are saved
    said = advise(Bound("p3.x", 2.21, 1.6, (1.5, 1.7)), 0.548, found)
    assert "by time, measured alone: fast (" in said
    assert with_times([], [now], (3, 5, 7), 0.1) == []


def test_report_of_a_detector() -> None:
    model = regard.insert(regard.load("yolov5n"), "MultiHeadSelfAttention", after="p4")
    report = regard.cost(model, imgsz=64, repeats=1)
    said = json.loads(report.to_json())
    assert len(said["rows"]) == len(model.model)
    assert [b["row"] for b in said["bounds"]] == ["p4.multiheadselfattention"]
    assert str(report).count("p4.multiheadselfattention") == 3  # its row, its bound, its advice
    assert "| p4.multiheadselfattention | MultiHeadSelfAttention |" in report.to_markdown()
    assert "on cpu with" in report.totals
    with pytest.raises(RegardError, match="multiple of 32"):
        regard.cost(model, imgsz=65)
    with pytest.raises(RegardError, match="repeats is 0"):
        regard.cost(model, imgsz=64, repeats=0)


def test_a_model_without_attention_says_so() -> None:
    report = regard.cost(regard.load("yolov5n"), imgsz=64, repeats=1)
    assert "no attention that mixes" in report.totals
    assert report.bounds == ()
