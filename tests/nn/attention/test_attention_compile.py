"""``torch.compile(dynamic=True)`` gives what eager gives, for sizes that it has not seen as well."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import pytest
import torch
from catalogue import build, every_module_slowly, some
from torch._dynamo.testing import CompileCounterWithBackend

from regard.nn.attention import ATTENTION

SIZES = [(2, (9, 13)), (3, (17, 10)), (5, (8, 8)), (1, (14, 21)), (2, (5, 6))]
"""The last two may compile again: torch treats one image, or one window, as a special case."""

TWO_SIDES = "MixedHeads"
"""Has windows of two sides, so that torch meets the special case of one window twice."""

NOT_ONE_IMAGE = "DilatedNeighborhoodAttention"
"""For one image of symbolic size inductor's ``simplify_index_in_vec_range`` was given 40 minutes and did not end (torch
2.14); with ``dynamic=False`` it takes half a minute."""


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled_as_eager(name: str, backend: str, sizes: Sequence[tuple[int, tuple[int, int]]] = SIZES) -> None:
    """The same outputs, and at most two compilations after the first."""
    module, counter = build(name), CompileCounterWithBackend(backend)
    compiled = torch.compile(module, dynamic=True, fullgraph=True, backend=counter)
    with torch.no_grad():
        for batch, size in sizes:
            x = some(size=size, batch=batch)
            torch.testing.assert_close(compiled(x), module(x), rtol=0, atol=1e-10)
    assert counter.frame_count <= 3 + (name == TWO_SIDES)
    assert counter.op_count > 0


@every_module_slowly
def test_traced(name: str) -> None:
    compiled_as_eager(name, "eager")


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.filterwarnings("ignore")  # the compiler's own, about its own parts
def test_generated_code(name: str) -> None:
    compiled_as_eager(name, "inductor", [s for s in SIZES if s[0] > 1] if name == NOT_ONE_IMAGE else SIZES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTENTION)
def test_gradients(name: str) -> None:
    module = build(name).train()
    compiled = torch.compile(module, dynamic=True, fullgraph=True, backend="aot_eager")
    for batch, size in SIZES[:2]:
        x, state = some(size=size, batch=batch).requires_grad_(), torch.get_rng_state()
        before = copy.deepcopy(module.state_dict())
        (expected,) = torch.autograd.grad(module(x).square().sum(), x)
        torch.set_rng_state(state)
        module.load_state_dict(before)  # of what a forward pass follows in training, such as clusters
        (found,) = torch.autograd.grad(compiled(x).square().sum(), x)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
