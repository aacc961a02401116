"""Options by their old names, wherever arguments are bound: rows, overlays, options of Python and the command line."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

import pytest
import torch

import regard
from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.read import parse_spec
from regard.nn.attention.mixed_heads import MixedHeads
from regard.nn.renamed import RENAMED, OldNames, with_new_names
from regard.nn.table import LAYERS

GRAPH = """
nc: 3
anchors: [[5,6, 8,15]]
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, {module}, {{{options}}}]
head:
  - [[-1], 1, Detect, [nc, anchors]]
"""


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("SE", "ratio: 2", "reduction: 2"),
        ("AreaAggregation", "heads: 2, ratio: 1.5", "num_heads: 2, mlp_ratio: 1.5"),
        ("TransformerBlock", "ffn_ratio: 2.0", "mlp_ratio: 2.0"),
        ("SelfAttention", "key_channels: 3, normaliser: relu", "qk_dim: 3, score_activation: relu"),
        ("MultiHeadSelfAttention", "positions: rotary", "pos_embed: rotary"),
        ("LSHAttention", "stretch: 8", "chunk_size: 8"),
        ("C3Attention", "attention: SE, options: {ratio: 2}", "attention: SE, options: {reduction: 2}"),
    ],
)
def test_old_names_in_a_graph(module: str, old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match="is now called") as reported:
        first = build(parse_spec(GRAPH.format(module=module, options=old), None))
    second = build(parse_spec(GRAPH.format(module=module, options=new), None))
    assert len({str(warning.message) for warning in reported}) == old.count(":") - old.count("attention:") - old.count(
        "options:"
    )
    second.load_state_dict(first.state_dict())
    images = torch.rand(1, 3, 32, 32)
    assert all(map(torch.equal, second.eval()(images), first.eval()(images)))


def test_old_names_in_python_and_in_saved_graphs(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="SE: option 'ratio' is now called 'reduction'"):
        edited = regard.insert(regard.load("odd-one-out"), "SE", after="p4", options={"ratio": 4})
    assert edited.layer("p4.se").module.hidden == 32
    with warnings.catch_warnings():  # the graph that is written keeps the names that it was given
        warnings.simplefilter("ignore", DeprecationWarning)
        regard.save(edited, tmp_path / "old.safetensors")
    with pytest.warns(DeprecationWarning, match="'reduction'"):
        loaded = regard.load(tmp_path / "old.safetensors")
    assert all(map(torch.equal, loaded(torch.ones(1, 3, 32, 32)), edited(torch.ones(1, 3, 32, 32))))


def test_a_layer_keeps_an_option_that_is_its_own() -> None:
    assert with_new_names("Own", {"ratio": 2, "other": 1}, ["ratio", "reduction"]) == {"ratio": 2, "other": 1}
    assert with_new_names("Own", {"ratio": 2}, ["width"]) == {"ratio": 2}  # left to be rejected


def test_both_names_at_once_are_rejected() -> None:
    with pytest.raises(RegardError, match="'ratio' and 'reduction' are the same"):
        with_new_names("SE", {"ratio": 2, "reduction": 4}, ["reduction"])


def test_no_layer_has_an_old_name_or_two_candidates() -> None:
    for kind in LAYERS.values():
        names = set(inspect.signature(kind).parameters)
        assert not names & RENAMED.keys() or kind is MixedHeads, "whose heads are kinds of attention"
        assert all(len(names.intersection(new)) <= 1 for new in RENAMED.values())


@pytest.mark.parametrize(
    ("layer", "old", "new"),
    [
        ("SE", {"ratio": 8}, {"reduction": 8}),
        ("MultiHeadSelfAttention", {"heads": 2, "positions": "none"}, {"num_heads": 2, "pos_embed": "none"}),
        ("SelfAttention", {"key_channels": 3, "normaliser": "relu"}, {"qk_dim": 3, "score_activation": "relu"}),
        ("LSHAttention", {"stretch": 8}, {"chunk_size": 8}),
        ("TransformerBlock", {"ffn_ratio": 2.0}, {"mlp_ratio": 2.0}),
        ("PartialSelfAttention", {"heads": 2}, {"num_heads": 2}),
    ],
)
def test_old_names_in_a_constructor(layer: str, old: dict[str, object], new: dict[str, object]) -> None:
    kind = LAYERS[layer]
    torch.manual_seed(0)
    with pytest.warns(DeprecationWarning, match=f"{layer}: option .* is now called") as reported:
        first = kind(16, **old)
    assert [warning.filename for warning in reported] == [__file__] * len(old)
    torch.manual_seed(0)
    second = kind(16, **new)
    second.load_state_dict(first.state_dict())
    assert repr(first) == repr(second)
    with pytest.raises(RegardError, match="are the same"):
        kind(16, **old, **new)
    with pytest.raises(TypeError):
        kind(16, nonsense=1)


def test_every_layer_with_a_new_name_takes_the_old_one() -> None:
    lacking = [
        name
        for name, kind in LAYERS.items()
        if any(new in inspect.signature(kind).parameters for names in RENAMED.values() for new in names)
        and not issubclass(kind, OldNames)
    ]
    assert lacking == []


def test_each_old_name_is_reported_once_per_graph() -> None:
    graph = GRAPH.format(module="SE", options="ratio: 2")
    for use in (
        lambda: build(parse_spec(graph, None)),
        lambda: regard.insert(regard.load("odd-one-out"), "SE", after="p4", options={"ratio": 4}),
    ):
        with warnings.catch_warnings(record=True) as reported:
            warnings.simplefilter("always")
            use()
        assert [str(warning.message).count("'reduction'") for warning in reported] == [1]


def test_the_public_names_can_be_completed() -> None:
    import regard

    assert {"train", "load", "Callback"} <= set(dir(regard))
