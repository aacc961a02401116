from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from regard.exporting.convert import to_torchscript
from regard.nn.attention.sizes import least


class Least(nn.Module):
    """Fills ``(min(H, 5), min(W, H))``, by an axis and a number and by two axes."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_ones(least(5, x.shape[0]), least(x.shape[1], x.shape[0]))


SIZES = [(3, 7), (5, 5), (8, 2), (4, 11)]
EXAMPLE = torch.zeros(6, 9)


@pytest.mark.parametrize("size", SIZES)
def test_of_numbers(size: tuple[int, int]) -> None:
    assert (least(*size), least(*reversed(size))) == (min(size), min(size))


def test_a_trace_follows_it() -> None:
    check(to_torchscript(Least(), (EXAMPLE,)))


def test_an_export_and_a_compiler_follow_it() -> None:
    shapes = {"x": dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)}
    check(torch.export.export(Least(), (EXAMPLE,), dynamic_shapes=shapes).module())
    torch._dynamo.reset()
    check(torch.compile(Least(), dynamic=True, fullgraph=True, backend="eager"))


def check(run: Callable[[Tensor], Tensor]) -> None:
    for height, width in SIZES:
        assert run(torch.zeros(height, width)).shape == (min(height, 5), min(width, height))
