"""What every module says it costs: against its formulas, and against counting on a plain, written-out run."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from catalogue import Operators, build, every_module
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from counting import products
from regard.nn.attention import ATTENTION, Attention

SIZES = [(1, 1), (1, 7), (13, 9), (28, 28), (20, 33)]
PRODUCTS_DIFFER: dict[str, tuple[float, float, str]] = {}
"""Where counting finds more or fewer products than stated: counted / stated at least, at most, and why."""

linear_modules = pytest.mark.parametrize("name", [name for name, kind in ATTENTION.items() if kind.card.linear])
lean_modules = pytest.mark.parametrize(
    "name", [n for n, kind in ATTENTION.items() if kind.card.linear or n in ("SelfAttention", "MultiHeadSelfAttention")]
)


def evaluate(formula: str, module: Attention, height: int, width: int) -> float:
    """Return a card's formula for a module on a map, read by sympy."""
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
def test_the_card_tells_the_parameters(name: str, channels: int) -> None:
    module = build(name, channels)
    count = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert evaluate(module.card.parameters, module, 5, 7) == count


@every_module
@pytest.mark.parametrize("channels", [16, 48])
def test_the_card_tells_the_flops(name: str, channels: int) -> None:
    module = build(name, channels)
    for height, width in SIZES:
        assert evaluate(module.card.flops, module, height, width) == module.flops(height, width)


@every_module
def test_without_mixing_fewer_products_are_made(name: str) -> None:
    module = build(name)
    x = torch.rand(1, module.in_channels, 13, 9, dtype=torch.float64)
    assert module.unmixed(x).shape == module(x).shape
    whole, rest = products(lambda: module(x)), products(lambda: module.unmixed(x))
    if module.mixing_flops(13, 9):
        assert rest < whole
    else:
        assert rest == whole


@every_module
def test_mixing_is_a_part(name: str) -> None:
    module = build(name)
    for size in SIZES:
        assert isinstance(module.flops(*size), int)
        assert isinstance(module.saved_elements(*size), int)
        assert 0 <= module.mixing_flops(*size) <= module.flops(*size)
    if module.card.family in ("channel", "spatial", "channel and spatial"):
        assert module.mixing_flops(28, 28) == 0


class ElementWise(TorchDispatchMode):
    """Counts an operation for each element that a scaling, sum, pooling or activation takes or gives."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [t for t in (*args, *(result if isinstance(result, tuple) else (result,))) if isinstance(t, Tensor)]
        if not func.is_view and tensors:
            self.operations += max(t.numel() for t in tensors)
        return result


def counted(module: Attention, size: tuple[int, int]) -> tuple[int, int]:
    """Return the operations of matrix products and convolutions, and a bound of all others, where nothing is fused."""
    x = torch.randn(1, module.in_channels, *size)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), ElementWise() as others:
        module(x)
    return products(lambda: module(x)), others.operations


@every_module
@pytest.mark.parametrize("size", [(28, 28), (13, 9)])
def test_flops_by_counting(name: str, size: tuple[int, int]) -> None:
    """Products as counted, and beyond them no more than one operation for each element that anything else touches."""
    module = build(name, dtype=torch.float32)
    found, others = counted(module, size)
    low, high, _ = PRODUCTS_DIFFER.get(name, (1.0, 1.0, ""))
    stated = module.flops(*size)
    assert found <= high * stated
    assert stated <= found / low + others
    if module.mixing_flops(*size):
        assert stated <= 1.05 * found / low + 16 * math.prod(size) * module.in_channels


@pytest.mark.parametrize("name", ["SelfAttention", "MultiHeadSelfAttention"])
def test_counting_agrees_to_the_last_product(name: str) -> None:
    module = build(name, dtype=torch.float32)
    assert counted(module, (13, 9))[0] == module.flops(13, 9)


def saved_by_autograd(module: Attention, x: Tensor) -> float:
    """Return how many float32 values the backward pass needs, in storages of their own, without parameters."""
    known = {p.untyped_storage().data_ptr() for p in (*module.parameters(), *module.buffers())}
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = module(x)  # held, so that no storage is used twice
    del y
    return sum(kept.values()) / 4


@every_module
@pytest.mark.parametrize("size", [(28, 28), (13, 9)])
def test_saved_elements_within_a_factor_of_two(name: str, size: tuple[int, int]) -> None:
    module = build(name, 32, torch.float32).train()
    saved = saved_by_autograd(module, torch.randn(1, 32, *size, requires_grad=True))
    assert saved / 2 <= module.saved_elements(*size) <= 2 * saved


@linear_modules
def test_flops_grow_in_proportion_where_the_card_says_so(name: str) -> None:
    module = ATTENTION[name](128)
    slope = math.log(module.flops(160, 160) / module.flops(40, 40)) / math.log(16)
    assert slope <= 1.15


@every_module
def test_quadratic_cost_is_not_called_linear(name: str) -> None:
    module = ATTENTION[name](16)
    slope = math.log((1 + module.mixing_flops(160, 160)) / (1 + module.mixing_flops(40, 40))) / math.log(16)
    assert module.card.linear == (slope <= 1.15)


@lean_modules
@pytest.mark.parametrize("training", [False, True])
def test_nothing_quadratic_is_held(name: str, training: bool) -> None:
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
