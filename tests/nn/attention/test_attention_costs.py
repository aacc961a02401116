"""Costs of every module: counted values against the formulas of the cards, and against an independent counter."""

from __future__ import annotations

import math

import pytest
import torch
from catalogue import Operators, build, every_module

from counting import products
from regard.nn.attention import ATTENTION, Attention
from regard.nn.counter import Cost, count, count_on_map, forward_without_mixing

SIZES = [(1, 1), (1, 7), (13, 9), (28, 28), (20, 33)]
FILLED_UP = {"CascadedGroupAttention", "DenseSynthesizer", "DifferentialAttention", "IRMB", "RandomSynthesizer"}
"""Modules whose fused kernel is given zeros, to make keys and values equally wide; they are not counted."""

linear_modules = pytest.mark.parametrize("name", [name for name, kind in ATTENTION.items() if kind.card.linear])
lean_modules = pytest.mark.parametrize(
    "name", [n for n, kind in ATTENTION.items() if kind.card.linear or n in ("SelfAttention", "MultiHeadSelfAttention")]
)


def counted(module: Attention, height: int, width: int) -> Cost:
    return count_on_map(module, module.in_channels, height, width)


def evaluate(formula: str, module: Attention, height: int, width: int) -> float:
    """A card's formula for a module on a map, read by sympy."""
    sympy = pytest.importorskip("sympy")
    whole = {k: v for k, v in vars(module).items() if isinstance(v, int) and not isinstance(v, bool)}
    values = whole | {"C": module.in_channels, "H": height, "W": width, "N": height * width}
    symbols = {name: sympy.Symbol(name, positive=True, integer=True) for name in values}
    expression = sympy.sympify(formula, locals=symbols)
    unknown = {str(s) for s in expression.free_symbols} - values.keys()
    assert not unknown, f"{formula} speaks of {unknown}, which no integer attribute is"
    return float(expression.subs({symbols[name]: value for name, value in values.items()}))


@every_module
@pytest.mark.parametrize("channels", [16, 48])
def test_the_formulas_of_the_card(name: str, channels: int) -> None:
    module = build(name, channels)
    parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert evaluate(module.card.parameters, module, 5, 7) == parameters
    for height, width in SIZES:
        if (name, height) != ("ConvolutionAsAttention", 1):  # where einsum is no matrix product
            assert evaluate(module.card.flops, module, height, width) == counted(module, height, width).flops


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("BAM", {"reduction": 3, "dilation": 2}),
        ("ELA", {"kernel_size": 3, "groups": 5}),
        ("CAA", {"kernel_size": 5}),
        ("CascadedGroupAttention", {"num_heads": 2, "qk_dim": 7, "kernel": 3}),
        ("DifferentialAttention", {"num_heads": 3}),
        ("ContextualTransformer", {"num_heads": 3, "kernel": 5}),
        ("AgentAttention", {"num_heads": 2, "grid": 3, "kernel": 5}),
        ("MultiScaleDilatedAttention", {"num_heads": 2, "kernel": 5, "scales": 3}),
        ("DoubleAttention", {"reduction": 5}),
        ("ExternalAttention", {"memory": 11}),
        ("PolarityAttention", {"num_heads": 3, "kernel": 3}),
        ("TokenStatisticsAttention", {"num_heads": 3}),
    ],
)
def test_the_flops_of_the_card_with_other_options(name: str, options: dict[str, object]) -> None:
    module = build(name, 24, **options)
    for height, width in ((2, 3), (11, 7), (13, 17)):
        assert evaluate(module.card.flops, module, height, width) == counted(module, height, width).flops


@pytest.mark.parametrize(
    ("name", "options", "flops", "mixing"),
    [
        ("SE", {"reduction": 2}, 90 + 90 + 2 * (2 * 18) + 3 + 6, 0),  # means, scales, two layers, activations
        ("MultiHeadSelfAttention", {"num_heads": 2}, 15 * 8 * 36 + 4 * 225 * 6, 4 * 225 * 6),
        ("SelfAttention", {"qk_dim": 2}, 2 * 15 * 6 * 10 + 2 * 225 * 8, 2 * 225 * 8),
        ("SelfAttention", {"score_activation": "relu"}, 2 * 15 * 6 * 18 + 4 * 225 * 6, 4 * 225 * 6),
        ("AxialAttention", {"num_heads": 1}, 2 * 15 * 8 * 36 + 4 * 6 * 15 * 8, 4 * 6 * 15 * 8),
        ("WindowAttention", {"num_heads": 1, "window": 2}, 15 * 8 * 36 + 4 * 6 * 24 * 4, 4 * 6 * 24 * 4),
        ("NonLocal", {"form": "dot_product"}, 8 * 15 * 6 * 3 + 4 * 15 * 9 + 90, 4 * 15 * 9),
        ("PooledAttention", {"num_heads": 1, "reduction": 1}, 15 * 8 * 36 + 4 * 225 * 6, 4 * 225 * 6),
    ],
)
def test_by_hand(name: str, options: dict[str, object], flops: int, mixing: int) -> None:
    """Six channels, 3 x 5 positions."""
    cost = counted(ATTENTION[name](6, **options), 3, 5)
    assert (cost.flops, cost.mixing_flops) == (flops, mixing)


@every_module
def test_mixing_is_what_goes_when_it_is_left_out(name: str) -> None:
    module = build(name)
    cost, x = counted(module, 13, 9), torch.rand(1, module.in_channels, 13, 9, dtype=torch.float64)
    assert forward_without_mixing(module, x).shape == module(x).shape
    gone = products(lambda: module(x)) - products(lambda: forward_without_mixing(module, x))
    assert cost.mixing_flops <= gone if name in FILLED_UP else cost.mixing_flops == gone
    if module.card.family in ("channel", "spatial", "channel and spatial"):
        assert gone == 0


@every_module
@pytest.mark.parametrize("training", [False, True])
def test_on_the_meta_device_as_in_earnest(name: str, training: bool) -> None:
    """Operations, and bytes that the real kernels keep for the backward pass; batch norm keeps a few more."""
    module = build(name, 32, torch.float32).train(training)
    x = torch.randn(1, 32, 13, 9, requires_grad=True)
    real = count(module, x)
    meta = count(module.to("meta"), x.detach().to("meta").requires_grad_())
    assert (meta.flops, meta.mixing_flops) == (real.flops, real.mixing_flops)
    assert meta.activation_bytes == pytest.approx(real.activation_bytes, rel=0.02)
    assert real.activation_bytes >= x.numel() * 4


@pytest.mark.parametrize("pos_embed", ["rotary", "relative", "log_cpb"])
@pytest.mark.parametrize("name", ["MultiHeadSelfAttention", "HaloAttention"])
def test_so_with_positions(name: str, pos_embed: str) -> None:
    """A learned bias makes the real kernel write its weights out in training."""
    module, x = (
        build(name, 32, torch.float32, pos_embed=pos_embed).train(),
        torch.randn(1, 32, 9, 7, requires_grad=True),
    )
    real = count(module, x)
    assert count(module.to("meta"), x.detach().to("meta").requires_grad_()) == real


@linear_modules
def test_flops_grow_in_proportion_where_the_card_says_so(name: str) -> None:
    module = ATTENTION[name](128)
    slope = math.log(counted(module, 160, 160).flops / counted(module, 40, 40).flops) / math.log(16)
    assert slope <= 1.15


@every_module
def test_quadratic_cost_is_not_called_linear(name: str) -> None:
    module = ATTENTION[name](16)
    large, small = counted(module, 160, 160).mixing_flops, counted(module, 40, 40).mixing_flops
    slope = math.log((1 + large) / (1 + small)) / math.log(16)
    assert module.card.linear == (slope <= 1.15)


@lean_modules
@pytest.mark.parametrize("training", [False, True])
def test_nothing_quadratic_is_stored(name: str, training: bool) -> None:
    """Four times the positions: about four times the largest tensor. N x N weights would take sixteen times."""
    module = build(name, dtype=torch.float32).train(training)
    largest = []
    for side in (28, 56):
        x = torch.randn(1, 16, side, side, requires_grad=training)
        with torch.set_grad_enabled(training), Operators() as operators:
            y = module(x)
            if training:
                y.sum().backward()
        largest.append(operators.largest)
    assert largest[1] <= 5 * largest[0]
