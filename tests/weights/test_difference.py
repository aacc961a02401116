from __future__ import annotations

import copy
import json
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from typer.testing import CliRunner

import regard
from regard.cli import app
from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.edit import insert, remove, replace_layer
from regard.graph.read import read_spec
from regard.graph.spec import LayerSpec, ModelSpec
from regard.system.translation import translate_into
from regard.weights.detector import rebuild
from regard.weights.difference import Difference, _missing_line, compare_detectors
from regard.weights.layer_changes import _anchors, _rewired


@pytest.fixture(scope="module")
def base() -> Detector:
    return build(read_spec("odd-one-out"))


def found(a: Detector, b: Detector, *, with_values: bool = True) -> Difference:
    return compare_detectors(a, b, names=("a", "b"), imgsz=64, with_values=with_values)


def changes(difference: Difference) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {layer.name: (layer.change, layer.details) for layer in difference.layers if layer.change != "same"}


def test_a_model_equals_itself(base: Detector) -> None:
    same = found(base, base)
    count = len(base.state_dict())
    assert same.is_same_graph
    assert not same.classes
    assert (same.tensors.kept, same.tensors.total, same.tensors.equal) == (count, count, count)
    assert not same.tensors.missing
    assert not same.tensors.unused
    assert same.costs.flops[0] == same.costs.flops[1] > 0


def test_an_insertion_is_added_and_its_readers_are_rewired(base: Detector) -> None:
    edited, _ = rebuild(base, insert(base.spec, "SE", after="p4"))
    there, back = found(base, edited), found(edited, base)
    assert changes(there)["p4.se"] == ("added", ("reads p4",))
    change, details = changes(there)["head.out"]
    assert change == "changed"
    assert details == ("re-wired to read p4.se instead of p4, inserted between",)
    assert sum(there.tensors.missing["p4.se"].values()) == len(edited.layer("p4.se").state_dict())
    assert there.tensors.total - there.tensors.kept == len(edited.layer("p4.se").state_dict())
    assert there.tensors.equal == len(base.state_dict())
    assert changes(back)["p4.se"][0] == "removed"
    assert back.tensors.kept == back.tensors.total
    assert back.tensors.unused == {"p4.se": len(edited.layer("p4.se").state_dict())}
    assert there.costs.parameters == back.costs.parameters[::-1]
    assert there.costs.parameters == tuple(sum(p.numel() for p in d.parameters()) for d in (base, edited))


def test_other_modules_arguments_and_gates_are_changes(base: Detector) -> None:
    gated = insert(base.spec, "SE", after="p4")
    open_, _ = rebuild(base, insert(base.spec, "SE", after="p4", gate=False))
    closed, _ = rebuild(base, gated)
    assert changes(found(closed, open_)) == {"p4.se": ("changed", ("no longer behind a gate",))}
    fewer, _ = rebuild(base, insert(base.spec, "SE", after="p4", options={"reduction": 8}))
    (name, (change, details)), *rest = changes(found(closed, fewer)).items()
    assert (name, change, rest) == ("p4.se", "changed", [])
    assert details[0].startswith("arguments")
    assert any("in the source" in reason for reason in found(closed, fewer).tensors.missing["p4.se"])
    other, _ = rebuild(base, replace_layer(base.spec, "p4", "C3TR"))
    assert changes(found(base, other))["p4"] == ("changed", ("module C3 -> C3TR",))


def test_wiring_by_mistake_is_not_called_an_insertion() -> None:
    right = build(read_spec("yolov5n"))
    joins = [i for i, row in enumerate(right.spec.layers) if row.module == "Concat" and "head.p4_lateral" in row.inputs]
    row = right.spec.layers[joins[-1]]
    rows = list(right.spec.layers)
    rows[joins[-1]] = replace(row, inputs=(row.inputs[0], "head.p4_fused"))
    with warnings.catch_warnings(action="ignore"):
        wrong = build(replace(right.spec, layers=tuple(rows)), allow_miswired=True)
    _, details = changes(found(right, wrong))[row.name]
    assert any(d.startswith("re-wired") and d.endswith(f"instead of [{', '.join(row.inputs)}]") for d in details)


def test_values_are_compared_only_where_both_have_weights(base: Detector, tmp_path: Path) -> None:
    regard.save(base, tmp_path / "a.safetensors")
    other, _ = rebuild(base, base.spec)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    regard.save(other, tmp_path / "b.safetensors")
    count = len(base.state_dict())
    assert regard.diff(tmp_path / "a.safetensors", tmp_path / "b.safetensors", imgsz=64).tensors.equal == count - 1
    assert regard.diff("odd-one-out", tmp_path / "b.safetensors", imgsz=64).tensors.equal is None


def test_classes_in_another_order_are_reported(base: Detector) -> None:
    turned = build(base.spec, names={0: "odd", 1: "ordinary"})
    straight = build(base.spec, names={0: "ordinary", 1: "odd"})
    assert found(straight, turned).classes == "the same 2 in another order, 2 under another id"
    assert found(straight, build(base.spec.with_classes(3), names={0: "odd", 1: "a", 2: "b"})).classes == (
        "2 -> 3 classes, names in both: 1"
    )


@pytest.mark.parametrize(("a", "b"), [("yolov5n", "yolo11n"), ("yolov8n", "yolov5n")])
def test_families_can_be_compared(a: str, b: str) -> None:
    between = regard.diff(a, b)
    assert between.tensors.total == len(regard.load(b).state_dict())
    assert 0 < between.tensors.kept < between.tensors.total
    listed = [layer.name for layer in between.layers]
    ours, theirs = ([row.name for row in regard.load(m).spec.layers] for m in (a, b))
    kept = [layer.name for layer in between.layers if layer.change not in ("added", "removed")]
    assert len(listed) == len(ours) + len(theirs) - len(kept)
    missing = sum(sum(reasons.values()) for reasons in between.tensors.missing.values())
    assert missing + between.tensors.kept + between.tensors.partly == between.tensors.total


def test_heads_may_have_another_number_of_levels(base: Detector) -> None:
    three = build(read_spec("yolov5n"))
    there, back = found(base, three), found(three, base)
    assert "detect" in there.tensors.missing
    assert "detect" in back.tensors.missing


def test_the_original_is_not_changed(base: Detector) -> None:
    other = remove(insert(base.spec, "SE", after="p4"), "p4.se")
    b, _ = rebuild(base, other)
    with torch.no_grad():
        next(b.parameters()).add_(1)
    before = {key: tensor.clone() for key, tensor in b.state_dict().items()}
    found(base, b)
    assert all(torch.equal(before[key], tensor) for key, tensor in b.state_dict().items())


def test_the_command_prints_json_and_draws(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["diff", "odd-one-out", "odd-one-out-se", "--imgsz", "64", "--json"])
    assert done.exit_code == 0, done.output
    assert {layer["change"] for layer in json.loads(done.stdout)["layers"]} == {"same", "added", "changed"}
    figure = tmp_path / "new" / "diff.png"
    done = CliRunner().invoke(app, ["diff", "odd-one-out", "odd-one-out-se", "--imgsz", "64", "--plot", str(figure)])
    assert done.exit_code == 0, done.output
    assert "1 added" in done.output
    assert "instead of p4, inserted between\n" in done.output
    assert cv2.imread(str(figure)).std() > 1
    with pytest.raises(RegardError, match="suffix"):
        CliRunner().invoke(app, ["diff", "odd-one-out", "odd-one-out-se", "--plot", "a.svg"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("row", "other", "change"),
    [
        ("SE, [64]", "SE, [64, 16]", ""),
        ("SE, [64]", "SE, [64, 8]", "reduction=16 -> reduction=8"),
        ("Conv, [64, 3]", "Conv, [64, 3, 1, null, 1]", ""),
        ("Conv, [64, 3]", "Conv, [64, 3, 1, 1]", ""),
        ("Conv, [64, 3, 1, 1]", "Conv, [64, 3]", ""),
        ("Conv, [64, 3, 1, 2]", "Conv, [64, 3, 1, 1]", "padding=2 -> padding=1"),
        ("C3Attention, [64, SE]", "C3Attention, [64, SE, {options: {reduction: 16}}]", ""),
        ("C3Attention, [64, SE]", "C3Attention, [64, SE, {options: {reduction: 8}}]", "reduction"),
    ],
)
def test_a_default_that_is_written_out_is_no_difference(tmp_path: Path, row: str, other: str, change: str) -> None:
    for name, text in (("a", row), ("b", other)):
        size = "[64, 3, 1, 1]" if "3, 1, 2" in row else "[64, 1]"
        (tmp_path / f"{name}.yaml").write_text(
            f"nc: 2\nbackbone:\n- [-1, 1, Conv, [64, 3, 8]]\n- [-1, 1, {text}]\n- [-1, 1, Conv, {size}]\n"
            "head:\n- [[2], 1, Detect, [nc]]\n"
        )
    between = regard.diff(tmp_path / "a.yaml", tmp_path / "b.yaml", imgsz=64)
    details = [text for layer in between.layers for text in layer.details if text.startswith("arguments")]
    assert len(details) == bool(change)
    assert all(change in text for text in details)


@pytest.mark.parametrize("name", ["yolov8n", "yolov10n"])
def test_a_graph_equals_what_is_written_from_it(tmp_path: Path, name: str) -> None:
    spec = build(read_spec(name)).spec
    (tmp_path / f"{name}.yaml").write_text(spec.to_ultralytics_yaml())
    head = spec.layers[-1]
    explicit = replace(head, args=(), options=dict(spec.info[head.name].values))
    both = build(read_spec(tmp_path / f"{name}.yaml")), build(replace(spec, layers=(*spec.layers[:-1], explicit)))
    assert all(found(build(spec), other).is_same_graph for other in both)


def test_inputs_have_the_names_of_the_second_model() -> None:
    details = changes(found(build(read_spec("yolov5n")), build(read_spec("yolov5n-p2")), with_values=False))
    assert details["head.p4_down"][1] == (
        "re-wired to read head.p3_out instead of head.p3_fused",
        "the former head.p3_out is now head.p3_fused",
    )
    assert "the former head.p3_out is now head.p3_fused" in details["detect"][1]
    assert details["head.p2_concat"] == ("added", ("reads [head.p2_up, p2]",))


def graph(**inputs: str) -> ModelSpec:
    """A graph of convolutions, each of which reads the layer given by its name."""
    rows = tuple(LayerSpec(name, tuple(read.split()), "Conv") for name, read in inputs.items())
    return replace(read_spec("odd-one-out"), layers=rows)


@pytest.mark.parametrize(
    ("before", "after", "same", "texts"),
    [
        (graph(a="image", z="a"), graph(a="image", b="a", z="b"), {"a": "a"}, ["b instead of a, inserted between"]),
        (graph(a="image", b="a", z="a"), graph(a="image", b="a", z="b"), {"a": "a", "b": "b"}, ["b instead of a"]),
        (graph(a="image", z="a"), graph(a="image", z="a"), {}, ["a instead of the former a"]),
        (
            graph(a="image", b="a", z="a b"),
            graph(a="image", b="a", z="a b"),
            {"b": "b"},
            ["[a, b] instead of [a, b]", "the former a was removed"],
        ),
        (graph(a="image", z="a"), graph(c="image", a="c", z="a"), {"a": "c"}, ["a instead of c, inserted between"]),
        (graph(a="image", z="a"), graph(c="image", z="c"), {"a": "c"}, []),
        (graph(a="image", b="a", z="b"), graph(a="image", z="a"), {"a": "a"}, ["a instead of b"]),
    ],
)
def test_inputs_are_told_apart_by_layer_and_not_by_name(
    before: ModelSpec, after: ModelSpec, same: dict[str, str], texts: list[str]
) -> None:
    old, new = before.layers[-1].inputs, after.layers[-1].inputs
    found = list(_rewired(before, old, after, new, {**same, "z": "z"}))
    assert [text.removeprefix("re-wired to read ") for text in found if "is now" not in text] == texts
    renamed = [f"the former {name} is now {now}" for name, now in same.items() if name != now and now not in new]
    assert [text for text in found if "is now" in text] == renamed


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (((10, 13, 16, 30), (116, 90, 373, 326)), 2, "anchors 4 ({} px) -> 2 per level, without sizes"),
        (3, ((10, 13, 16, 30), (116, 90, 373, 326)), "anchors 3 per level, without sizes -> 4 ({} px)"),
        (3, 4, "anchors 3 -> 4 per level"),
        (((9, 9),), ((10, 13), (373, 326)), "anchors 1 (9 x 9 px) -> 2 ({} px)"),
        (
            ((10, 13, 16, 30),),
            ((10, 13, 16.126, 30.4),),
            "1 of 2 anchors differ: 10 x 13 ... 16 x 30 -> 10 x 13 ... 16.1 x 30.4 px",
        ),
    ],
)
def test_anchors_are_summarised(before: Any, after: Any, text: str) -> None:
    assert _anchors(before, after) == text.format("10 x 13 ... 373 x 326")


def test_anchors_that_differ_are_no_line_of_digits() -> None:
    spec = read_spec("yolov5n")
    other = replace(spec, anchors=tuple(tuple(value + 0.123456 for value in level) for level in spec.anchors or ()))
    (details,) = (layer for _, layer in changes(found(build(spec), build(other))).values())
    assert details == ("9 of 9 anchors differ: 10 x 13 ... 373 x 326 -> 10.1 x 13.1 ... 373 x 326 px",)


def test_anchors_that_another_head_lacks_are_counted() -> None:
    details = changes(found(build(read_spec("yolov5n")), build(read_spec("yolov8n")), with_values=False))
    assert details["detect"][1] == ("module Detect -> AnchorFreeDetect", "arguments [80, 9 anchors] -> 80")


@pytest.mark.parametrize("count", [2, 3])
def test_other_reasons_are_counted_in_words(count: int) -> None:
    reasons = {f"reason {i}": 5 - i for i in range(count)}
    assert _missing_line("p4", reasons).endswith(["reason 0, and 1 other reason", "and 2 other reasons"][count - 2])


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n\0\0", b"\xff\xd8\xff\xe0\0\x10JFIF", b"PK\3\4", b"\0" * 5_000_000]
)
def test_a_file_that_is_no_text_is_no_model(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image.png").write_bytes(content)
    with pytest.raises(RegardError, match=r"image\.png: not a model file: it is not text\n  expected: a model YAML"):
        regard.diff("odd-one-out", tmp_path / "image.png")


def test_another_activation_is_a_change(base: Detector) -> None:
    leaky = build(replace(base.spec, activation="nn.LeakyReLU(0.1)", info={}))
    there = found(base, leaky)
    assert not there.is_same_graph
    assert changes(there)["stem"] == ("changed", ("activation nn.SiLU() -> nn.LeakyReLU(0.1)",))
    other = build(replace(base.spec, activation="nn.LeakyReLU(0.2)", info={}))
    assert changes(found(leaky, other))["p3"][1] == ("activation nn.LeakyReLU(0.1) -> nn.LeakyReLU(0.2)",)
    assert found(leaky, leaky).is_same_graph


def test_the_kept_values_are_counted_without_counters_and_with_parts(base: Detector) -> None:
    state = base.state_dict()
    values = sum(tensor.numel() for key, tensor in state.items() if not key.endswith("num_batches_tracked"))
    same = found(base, base).tensors
    assert (same.kept_values, same.values) == (values, values)
    wider = build(replace(base.spec, width_multiple=2 * base.spec.width_multiple, info={}))
    assert found(base, wider).tensors.kept > 15  # nearly all of them counters
    assert found(base, wider).tensors.kept_values < 100
    other = build(replace(base.spec, nc=3, info={}), names={0: "odd", 1: "more", 2: "ordinary"})
    part = found(build(base.spec, names={0: "ordinary", 1: "odd"}), other).tensors
    head = base.head.state_dict()["m.0.weight"]
    lost = 3 * (head.shape[1] + 1)  # the new class of three anchors, weights and bias
    assert part.values - part.kept_values == lost


def test_layers_with_other_values_are_named(base: Detector) -> None:
    trained = copy.deepcopy(base)
    with torch.no_grad():
        trained.layer("p3").cv1.conv.weight.add_(1)  # type: ignore[union-attr,operator]
        trained.layer("p2").conv.weight.fill_(torch.nan)  # type: ignore[union-attr,operator]
    there = found(base, trained)
    assert there.tensors.differing == {"p2": 1, "p3": 1}
    assert "  other values in p2, p3\n" in str(there)
    assert not found(trained, trained).tensors.differing
    many = replace(there, tensors=replace(there.tensors, differing=dict.fromkeys("abcdefghij", 1)))
    assert "  other values in a, b, c, d, e, f, g, h and 2 more layers; --json has all\n" in str(many)


def test_classes_without_names_correspond_by_their_ids(base: Detector) -> None:
    three, five = (build(replace(base.spec, nc=n, info={})) for n in (3, 5))
    assert found(three, five).classes == "3 -> 5 classes; without names, those of equal ids count as the same"


def test_no_line_is_translated_in_part(base: Detector) -> None:
    names = {i: f"name {i}" for i in range(12)}
    many = build(replace(base.spec, nc=12, info={}), names=names)
    backwards = build(replace(base.spec, nc=12, info={}), names=dict(enumerate(reversed(names.values()))))
    edited, _ = rebuild(base, insert(base.spec, "SE", after="p3"))
    leaky = build(replace(base.spec, activation="nn.ReLU()", info={}))
    three, five = (build(replace(base.spec, nc=n, info={})) for n in (3, 5))
    pairs = [(many, backwards), (base, edited), (base, many), (base, leaky), (three, five), (base, base)]
    known = {"name", "class", "se", "nc", "detect", "stem", "head", "out", "down", "px", "json", "all", "nn", "p"}
    left: set[str] = set()
    for a, b in pairs:
        for with_values in (True, False):
            lines, _, _ = str(found(a, b, with_values=with_values)).partition("\ncosts")
            text = "\n".join(translate_into(line.strip(), "zh-TW") for line in lines.splitlines()[1:])
            left.update(re.findall("(?<![A-Za-z])[a-z]{2,}", text))
    assert left <= known


def test_weights_are_transferred_once_also_where_tensors_are_kept_in_part(
    base: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regard.weights import difference

    calls: list[str] = []
    transfer = difference.transfer
    monkeypatch.setattr(difference, "transfer", lambda *given: calls.append("") or transfer(*given))  # type: ignore[func-returns-value]
    other = copy.deepcopy(base)
    other.names = dict(enumerate(reversed(base.names.values())))
    with torch.no_grad():
        next(other.head.parameters()).fill_(torch.nan)
    tensors = found(other, base).tensors
    assert len(calls) == 1
    assert tensors.partly
    assert tensors.kept_values == tensors.values


def test_the_axis_of_the_figure_ends_at_the_longest_bar_and_no_description_is_cut(
    base: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import contextmanager

    from matplotlib.figure import Figure

    from regard.visualize import difference

    drawn = Figure(figsize=(11, 5), dpi=50)

    @contextmanager
    def kept(*_: Any) -> Any:
        yield drawn

    monkeypatch.setattr(difference, "saved_figure", kept)
    row = found(base, base).layers[0]
    details = tuple(f"re-wired to read [head.attention, p{i}] instead of [head.down, p{i}]" for i in range(9))
    one = replace(found(base, base), layers=(replace(row, details=details, change="changed"), row))
    difference.plot_difference(one, tmp_path / "x.png")
    axes, notes = drawn.axes
    assert axes.get_xlim()[1] == pytest.approx(max(row.flops) / 1e6, rel=0.03)
    text = notes.texts[0].get_text()
    assert text.replace("\n", " ") == f"{row.after}: {'; '.join(details)}"
    drawn.canvas.draw()
    boxes = [label.get_window_extent() for label in notes.texts]
    assert boxes[0].y0 >= boxes[1].y1  # the first, of many lines, does not run into the second
    assert boxes[0].x1 <= drawn.bbox.x1
