from __future__ import annotations

import pytest
import torch
from torch import Tensor

from regard.nn.join import SHORT, join


def _maps(*channels: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [
        torch.randn(2, c, 3, 5, generator=generator, dtype=dtype)
        .to(memory_format=torch.channels_last)
        .requires_grad_(True)
        for c in channels
    ]


def test_values_and_gradients_are_those_of_cat() -> None:
    maps = _maps(7, 11, SHORT + 3)
    weight = torch.randn(2, 18 + SHORT + 3, 3, 5, dtype=torch.float64)
    expected = torch.autograd.grad((torch.cat(maps, 1) * weight).sum(), maps)
    found = torch.autograd.grad((join(maps) * weight).sum(), maps)
    assert torch.equal(join(maps), torch.cat(maps, 1))
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_short_slices_come_back_dense() -> None:
    maps = _maps(7, 11, SHORT)
    seen: list[tuple[int, ...]] = []
    inner = [x.sin() for x in maps]
    for x in inner:
        x.register_hook(lambda gradient: seen.append(gradient.stride()))  # type: ignore[no-untyped-call]
    joined = join(inner)
    (joined * torch.ones_like(joined)).sum().backward()  # type: ignore[no-untyped-call]
    strides = {stride[3]: stride for stride in seen}  # channels last: the step from column to column
    assert strides[7] == (105, 1, 35, 7)
    assert strides[11] == (165, 1, 55, 11)
    assert strides[7 + 11 + SHORT][1] == 1  # long runs are quick as they are


def test_gradcheck_twice() -> None:
    def joined(a: Tensor, b: Tensor) -> Tensor:
        return join((a.sin(), b * a[:, :1])).square()

    maps = tuple(_maps(2, 3))
    assert torch.autograd.gradcheck(joined, maps)
    assert torch.autograd.gradgradcheck(joined, maps)


@pytest.mark.parametrize("grad", [True, False])
def test_plain_cat_when_nothing_learns(grad: bool) -> None:
    maps = [x.detach() for x in _maps(2, 3)]
    with torch.set_grad_enabled(grad):
        joined = join(maps)
    assert joined.grad_fn is None
    assert torch.equal(joined, torch.cat(maps, 1))
