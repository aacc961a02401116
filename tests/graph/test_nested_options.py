"""Options that are a mapping themselves, those of the attention inside a C3Attention: read, checked, written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.read import parse_spec, read_spec
from regard.graph.spec import ModelSpec

GRAPH = """
nc: 3
anchors: [[5,6, 8,15]]
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - {name: mixed, from: -1, module: C3, args: [16]}
head:
  - [[mixed], 1, Detect, [nc, anchors]]
"""
ARGS = [
    "{attention: CBAM}",
    "[16, {attention: CBAM}]",
    "[16, CBAM]",
    "{attention: CBAM, options: {reduction: 4}}",
    "{attention: WindowAttention, options: {window: 3, num_heads: 2}}",
    "{attention: SGE, options: {groups: 4}}",
    "[16, SGE, {options: {groups: 4}}]",
    "[16, SGE, False, 2, 1.0, {options: {groups: 4}}]",
]


def with_row(args: str, module: str = "C3Attention") -> ModelSpec:
    return parse_spec(GRAPH.replace("C3, args: [16]", f"{module}, args: {args}"), None)


def with_overlay(args: str, folder: Path) -> ModelSpec:
    (folder / "base.yaml").write_text(GRAPH)
    text = f"base: base.yaml\nreplace: [{{layer: mixed, module: C3Attention, args: {args}}}]\n"
    (folder / "overlay.yaml").write_text(text)
    return read_spec(folder / "overlay.yaml")


@pytest.mark.parametrize("args", ARGS)
@pytest.mark.parametrize("form", ["row", "overlay"])
@pytest.mark.parametrize("dialect", ["native", "integer"])
def test_written_and_read_again(args: str, form: str, dialect: str, tmp_path: Path) -> None:
    first = build(with_row(args) if form == "row" else with_overlay(args, tmp_path))
    text = first.spec.to_yaml() if dialect == "native" else first.spec.to_yolov5_yaml()
    second = build(parse_spec(text, None))
    assert repr(second.model) == repr(first.model)
    second.load_state_dict(first.state_dict())
    images = torch.rand(2, 3, 34, 22)
    assert all(map(torch.equal, second.eval()(images), first.eval()(images)))
    if "SGE" in args:
        assert second.layer(1).m[0].attend.groups == 4


@pytest.mark.parametrize(
    ("args", "said", "expected"),
    [
        ("{attention: GCT, options: {zero_start: Flase}}", "GCT: zero_start is 'Flase'", "true or false"),
        ("[16, SE, {options: {reduction: 0.5}}]", "SE: reduction is 0.5", "a whole number"),
        ("{attention: SE, options: {reduction: many}}", "SE: reduction is 'many'", "a whole number"),
        ("{attention: SE, options: {reductio: 4}}", "SE has no option 'reductio'", "reduction"),
        ("{options: {num_heads: two}}", "MultiHeadSelfAttention: num_heads is 'two'", "a whole number"),
    ],
)
@pytest.mark.parametrize("form", ["row", "overlay"])
def test_rejected_as_those_of_the_row_itself(args: str, said: str, expected: str, form: str, tmp_path: Path) -> None:
    spec = with_row(args) if form == "row" else with_overlay(args, tmp_path)
    with pytest.raises(RegardError) as caught:
        build(spec)
    error = caught.value
    assert f"layer 'mixed': C3Attention: {said}\n" in str(error)
    assert (error.line, error.expected) == (6 if form == "row" else 2, expected)


def test_numbers_and_words_inside_are_read_as_outside() -> None:
    options = "{decay: 1e-1, clusters: 4, num_heads: 2}"
    attention = build(with_row(f"{{attention: RoutingAttention, options: {options}}}")).layer("mixed").m[0].attend
    assert (attention.decay, attention.clusters) == (0.1, 4)
    zero_start = build(with_row("[16, GCT, {options: {zero_start: False}}]")).spec.layers[1].options["options"]
    assert zero_start == {"zero_start": False}


HEADS = [
    "{heads: [LocalAttention, {StridedAttention: {stride: 4}}]}",
    "[16, [{LocalAttention: {window: 3, pos_embed: relative}}, MultiHeadSelfAttention], sinusoidal]",
]


@pytest.mark.parametrize("args", HEADS)
@pytest.mark.parametrize("dialect", ["native", "integer"])
def test_lists_of_classes_written_and_read_again(args: str, dialect: str) -> None:
    first = build(with_row(args, "MixedHeads"))
    text = first.spec.to_yaml() if dialect == "native" else first.spec.to_yolov5_yaml()
    second = build(parse_spec(text, None))
    second.load_state_dict(first.state_dict())
    images = torch.rand(2, 3, 34, 22)
    assert all(map(torch.equal, second.eval()(images), first.eval()(images)))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("{heads: [{LocalAttention: {window: big}}]}", "MixedHeads: LocalAttention: window is 'big'"),
        ("{heads: [{LocalAttention: {windw: 3}}]}", "MixedHeads: a head of LocalAttention has no option 'windw'"),
        ("{heads: [LocalAttentio]}", "MixedHeads: 'LocalAttentio' cannot be a head"),
        ("{heads: [LocalAttention, 7]}", "MixedHeads: heads is"),
        ("{heads: [[LocalAttention]]}", "MixedHeads: heads is"),
        ("{heads: 3}", "MixedHeads: heads is 3"),
        ("{heads: LocalAttention}", "MixedHeads: heads is 'LocalAttention'"),
    ],
)
def test_items_of_a_list_are_checked(args: str, said: str) -> None:
    with pytest.raises(RegardError) as caught:
        build(with_row(args, "MixedHeads"))
    assert said in caught.value.what
    assert caught.value.line == 6
