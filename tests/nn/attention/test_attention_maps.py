"""The weights that ``attention`` tells of are those that ``forward`` used."""

from __future__ import annotations

import math

import pytest
import torch
from catalogue import Operators, build, every_module

from regard.nn.attention import ATTENTION, Attention
from regard.nn.attention.core import softmax
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.shuffle import shuffle

every_multi_head = pytest.mark.parametrize("name", [n for n, kind in ATTENTION.items() if issubclass(kind, MultiHead)])
WITHIN = {"ParNetAttention", "TokenStatisticsAttention"}
"""Maps that scale what a module has made of its input, instead of the input; their own tests hold them."""
POOLS = {"GlobalContext", "XCA"}
"""Maps that weigh positions or channels in a sum over them, instead of scaling each; their own tests hold them."""

WITHOUT = {"AreaAttention": {"kernel": 0}}
"""Options that leave out what a module adds to its attention, such as a convolution of the values."""

SIGNED = {
    "ContextualTransformer",
    "ConvolutionAsAttention",
    "DeformableAttention",
    "DifferentialAttention",
    "Linformer",
    "NystromAttention",
    "PolarityAttention",
    "RoutingAttention",
}
"""Rows that need not sum to one, maybe negative, partly off the map, or of a query that no cluster or no key took;
their own tests hold them."""

SHUFFLED = {"ShuffleAttention": shuffle}
"""Gates that reorder what they have scaled."""

CHOICES = {"SelectiveKernel"}
"""Maps that show which convolution each channel takes; their own tests hold them."""

BY_CONTENT = {"LSHAttention", "RoutingAttention", "BiLevelRoutingAttention", "SharedDeformableAttention"}
"""What a query sees depends on what stands there, and not on places alone; their own tests hold the pattern."""

SIZES = [(1, 1), (1, 7), (13, 9)]


def queries_of(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Corners, centre, and one that is neither."""
    height, width = size
    return sorted({(0, 0), (height - 1, width - 1), (height // 2, width // 2), (height // 3, width - 1)})


@every_module
@pytest.mark.parametrize("size", SIZES)
def test_shapes(name: str, size: tuple[int, int]) -> None:
    module, x = build(name), torch.randn(2, 16, *size, dtype=torch.float64)
    found = module.attention(x)
    assert found.weights.isfinite().all()
    shapes = {"channel": (2, 16), "spatial": (2, *size), "elements": (2, 16, *size)}
    if found.kind in shapes:
        assert found.weights.shape == shapes[found.kind]
        assert found.queries == ()
    else:
        assert found.kind == "rows"
        batch, heads, queries, *rest = found.weights.shape
        assert (batch, queries, rest) == (2, 1, [*size])
        assert heads == getattr(module, "heads", heads)
        assert found.queries == ((size[0] // 2, size[1] // 2),)


@every_module
@pytest.mark.parametrize("size", SIZES)
def test_a_gate_scales_the_input_by_its_map(name: str, size: tuple[int, int]) -> None:
    module, x = build(name), torch.randn(2, 16, *size, dtype=torch.float64)
    found = module.attention(x)
    if found.kind == "rows" or name in WITHIN | CHOICES:
        return
    broadcast = {"channel": (2, 16, 1, 1), "spatial": (2, 1, *size), "elements": (2, 16, *size)}[found.kind]
    weights = found.weights.reshape(broadcast)
    if name in POOLS:
        torch.testing.assert_close(weights.sum((1, 2, 3)), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-12)
    else:
        reorder = SHUFFLED.get(name, lambda y: y)
        torch.testing.assert_close(module(x), reorder(x * weights), rtol=0, atol=1e-12)


@every_module
def test_a_map_of_an_empty_batch(name: str) -> None:
    assert build(name).attention(torch.zeros(0, 16, 5, 7, dtype=torch.float64)).weights.shape[0] == 0


@every_multi_head
@pytest.mark.parametrize("size", SIZES)
def test_rows_are_how_the_output_changes_with_the_values(name: str, size: tuple[int, int]) -> None:
    """mix is linear in the values: d output_i / d value_j is the weight a_ij, in every channel of a head alike."""
    module = build(name, **WITHOUT.get(name, {}))
    assert isinstance(module, MultiHead)
    x = torch.randn(2, 16, *size, dtype=torch.float64)
    q, k, v = (t.detach() for t in module.project(x))
    if v.shape[2] != math.prod(size):
        return  # values are pooled before they are mixed; the module's own test checks its map
    v.requires_grad_()
    mixed = module.mix(q, k, v, size)
    for row, column in queries_of(size):
        weights = module.attention(x, (row, column)).weights[:, :, 0].flatten(2)
        for channel in (0, v.shape[3] - 1):
            (jacobian,) = torch.autograd.grad(mixed[:, :, row * size[1] + column, channel].sum(), v, retain_graph=True)
            torch.testing.assert_close(jacobian[..., channel], weights, rtol=0, atol=1e-12)
            jacobian[..., channel] = 0
            assert not jacobian.any()
    torch.testing.assert_close(module.mix(q, k, 2 * v, size), 2 * mixed, rtol=0, atol=1e-10)


@every_multi_head
@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_seen_outside_of_the_reach(name: str, size: tuple[int, int]) -> None:
    module = build(name)
    assert isinstance(module, MultiHead)
    x = torch.randn(2, 16, *size, dtype=torch.float64)
    for query in queries_of(size):
        seen = module.attention_mask(query, size)
        assert seen.shape in (size, (module.num_heads, *size))
        assert seen.dtype == torch.bool
        weights = module.attention(x, query).weights[:, :, 0]
        seen = seen.expand(weights.shape)
        assert (weights[~seen] == 0).all()
        if module.activation is softmax and name not in BY_CONTENT:
            assert (weights[seen] != 0).all()


@every_module
@pytest.mark.parametrize("size", SIZES)
def test_normalised_rows_sum_to_one(name: str, size: tuple[int, int]) -> None:
    module, x = build(name), torch.randn(2, 16, *size, dtype=torch.float64)
    for query in queries_of(size):
        found = module.attention(x, query)
        if name in SIGNED or found.kind != "rows" or getattr(module, "activation", softmax) is not softmax:
            return  # no rows, or none that are normalised
        sums = found.weights.sum((-2, -1))
        torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-9)


@every_module
def test_one_query_needs_no_more_than_a_row(name: str) -> None:
    check_grows_with_a_row(build(name, dtype=torch.float32))


@pytest.mark.parametrize("positions", ["relative", "log_cpb"])
@pytest.mark.parametrize("name", ["MultiHeadSelfAttention", "TransformerBlock", "HaloAttention"])
def test_nor_do_biases_of_offsets(name: str, positions: str) -> None:
    check_grows_with_a_row(build(name, dtype=torch.float32, pos_embed=positions))


def check_grows_with_a_row(module: Attention) -> None:
    """Four times the positions: about four times the largest tensor, where a full map would take sixteen."""
    largest = []
    for side in (28, 56):
        with torch.no_grad(), Operators() as watch:
            module.attention(torch.randn(1, 16, side, side), (side // 3, side // 2))
        largest.append(watch.largest)
    assert largest[1] <= 5 * largest[0]
