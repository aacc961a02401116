"""Gradients, half precision and repeatability of every module."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from catalogue import Operators, build, every_module
from torch import Tensor
from torch.func import functional_call

from regard.nn.attention import ATTENTION

NOT_DETERMINISTIC = (
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "fractional_max_pool",
    "max_pool3d_with_indices_backward",
    "avg_pool3d_backward",
    "upsample_linear1d",
    "upsample_bicubic2d",
    "upsample_trilinear3d",
    "reflection_pad",
    "replication_pad",
    "grid_sampler",
    "median",
    "kthvalue",
    "histc",
    "bincount",
    "scatter_reduce",
    "_ctc_loss",
)
"""Operators that raise an error on CUDA in deterministic mode, forward or backward, as torch documents them."""


SMALLER: dict[str, dict[str, Any]] = {"NystromAttention": {"grid": 3}}
"""Options for which finite differences of every value do not take long."""


@every_module
def test_gradcheck(name: str) -> None:
    module = build(name, 8, **SMALLER.get(name, {}))
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, (x,), fast_mode=False)


@every_module
def test_gradcheck_of_what_is_learned(name: str) -> None:
    module, x = build(name, 8), torch.randn(2, 8, 5, 3, dtype=torch.float64)
    keys = [key for key, parameter in module.named_parameters() if parameter.requires_grad]
    if not keys:
        return

    def forward(*values: Tensor) -> Tensor:
        return functional_call(module, dict(zip(keys, values, strict=True)), (x,))

    values = [module.get_parameter(key).detach().clone().requires_grad_() for key in keys]
    assert torch.autograd.gradcheck(forward, values, fast_mode=True)


@every_module
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_of_large_activations_is_finite(name: str, dtype: torch.dtype) -> None:
    module, x = build(name, dtype=dtype).train(), 16 * torch.randn(2, 16, 13, 9).abs().to(dtype)
    x.requires_grad_()
    y = module(x)
    assert y.dtype == dtype
    assert y.isfinite().all()
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert module.eval()(x).isfinite().all()


JUMPS = ("ReLULinearAttention", "LSHAttention", "RoutingAttention", "BiLevelRoutingAttention")
"""Not continuous: a row jumps from a sum of 1 to one of 0 where a query's last feature dies, or to other keys where a
rounding puts it into another bucket or cluster."""


def worst(name: str, error: Tensor) -> Tensor:
    """Return the largest error; the mean one where roundings may send single positions across a jump."""
    return error.abs().mean() if name in JUMPS else error.abs().max()


@every_module
def test_half_precision_is_near(name: str) -> None:
    """Within a tenth of the output's scale: bfloat16 keeps eight bits, and a sum of roundings loses some of them."""
    module, x = build(name), torch.randn(2, 16, 13, 9).bfloat16()
    expected = module(x.double())
    found = copy.deepcopy(module).bfloat16()(x).double()
    reference = copy.deepcopy(module).bfloat16().double()(x.double())  # with the weights rounded alike
    assert worst(name, found - reference) < 0.1 * expected.abs().max()


@every_module
def test_autocast_agrees(name: str) -> None:
    module, x = build(name, dtype=torch.float32), torch.randn(2, 16, 13, 9)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(x)
    assert found.isfinite().all()
    assert worst(name, found.float() - module(x)) < 0.1 * module(x).abs().max()


@every_module
def test_evaluation_repeats_bit_by_bit(name: str) -> None:
    module, x = build(name, dtype=torch.float32), torch.randn(2, 16, 13, 9)
    first = module(x)
    state = copy.deepcopy(module.state_dict())
    torch.rand(7)  # any draw in between
    assert torch.equal(module(x), first)
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def trained(name: str) -> torch.nn.Module:
    torch.manual_seed(5)
    module = torch.nn.Sequential(torch.nn.Conv2d(16, 16, 1), ATTENTION[name](16)).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        module(torch.randn(2, 16, 13, 9)).square().mean().backward()
        optimizer.step()
    return module


@every_module
def test_seeded_training_repeats(name: str) -> None:
    first, second = trained(name).state_dict(), trained(name).state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.fixture
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@every_module
@pytest.mark.usefixtures("_deterministic")
def test_deterministic_mode(name: str) -> None:
    module = build(name, dtype=torch.float32).train()
    with Operators() as operators:
        module(torch.randn(2, 16, 13, 9, requires_grad=True)).sum().backward()
    assert not [op for op in operators.names if op.lstrip("_").startswith(NOT_DETERMINISTIC)]


@every_module
@pytest.mark.usefixtures("_deterministic")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_deterministic_mode_on_a_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    module = build(name, dtype=torch.float32).train().cuda()
    x = torch.randn(2, 16, 13, 9, device="cuda", requires_grad=True)
    y = module(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(module.eval()(x), module(x))
