"""Blocks around attention: compiled at sizes not seen, gradients, and half precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.func import functional_call

from regard.nn.attentive_blocks import AreaAggregation, PartialSelfAttention
from regard.nn.c3_attention import C3Attention

BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "PartialSelfAttention": lambda: PartialSelfAttention(16, num_heads=2),
    "AreaAggregation": lambda: AreaAggregation(16, num_heads=2),
    "C3Attention": lambda: C3Attention(16, attention="HaloAttention", options={"num_heads": 2, "block": 3, "halo": 1}),
}
every_block = pytest.mark.parametrize("name", BLOCKS)
every_block_slowly = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "PartialSelfAttention" else pytest.mark.slow) for name in BLOCKS]
)


def some_block(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(3)
    return BLOCKS[name]().to(dtype).eval()


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@every_block_slowly
def test_compiled(name: str) -> None:
    block, counter = some_block(name), CompileCounterWithBackend("eager")
    compiled = torch.compile(block, dynamic=True, fullgraph=True, backend=counter)
    with torch.no_grad():
        for shape in ((2, 16, 9, 13), (3, 16, 17, 10), (5, 16, 8, 8)):
            x = torch.randn(shape, dtype=torch.float64)
            torch.testing.assert_close(compiled(x), block(x), rtol=0, atol=1e-10)
    assert counter.frame_count == 1


@every_block
def test_gradients(name: str) -> None:
    block, x = some_block(name), torch.randn(2, 16, 3, 5, dtype=torch.float64, requires_grad=True)
    keys = [key for key, _ in block.named_parameters()]

    def forward(x: Tensor, *values: Tensor) -> Tensor:
        return functional_call(block, dict(zip(keys, values, strict=True)), (x,))

    values = [value.detach().clone().requires_grad_() for value in block.parameters()]
    assert torch.autograd.gradcheck(forward, (x, *values), fast_mode=True)


@every_block
def test_half_precision_is_near(name: str) -> None:
    block, x = some_block(name), torch.randn(2, 16, 13, 9).bfloat16()
    expected = block(x.double())
    found = some_block(name).bfloat16()(x)
    assert found.dtype == torch.bfloat16
    assert (found.double() - expected).abs().max() < 0.1 * expected.abs().max()


@every_block
def test_large_activations_are_finite_in_half_precision(name: str) -> None:
    block, x = some_block(name, torch.float16).train(), (16 * torch.randn(2, 16, 13, 9).abs()).half().requires_grad_()
    y = block(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
