"""Large separable kernel attention against one large kernel."""

from __future__ import annotations

import pytest
import torch
from catalogue import build, some
from masked import close
from torch import Tensor
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.lska import LSKA


def spread(strip: Tensor, dilation: int) -> Tensor:
    """Insert zeros between the values of a strip."""
    wide = torch.zeros(len(strip), dilation * (strip.shape[1] - 1) + 1, dtype=strip.dtype)
    wide[:, ::dilation] = strip
    return wide


def composed(a: Tensor, b: Tensor) -> Tensor:
    """Strip that does what two strips do one after the other."""
    return F.conv1d(a[None, None], b.flip(0)[None, None], padding=len(b) - 1)[0, 0]


@pytest.mark.parametrize(("kernel_size", "dilation", "near", "far"), [(7, 2, 3, 3), (23, 3, 5, 7)])
def test_equals_one_large_kernel(kernel_size: int, dilation: int, near: int, far: int) -> None:
    module = build("LSKA", 3, kernel_size=kernel_size)
    assert isinstance(module, LSKA)
    assert (module.near, module.far) == (near, far)
    side = near + dilation * (far - 1)
    x = some(3, (side + 4, side + 2))
    with torch.no_grad():
        for strip in module.strips:
            strip.bias.zero_()
    along_near, down_near, along_far, down_far = (strip.weight.flatten(1) for strip in module.strips)
    rows, columns = (
        torch.stack([composed(a, b) for a, b in zip(near_strips, spread(far_strips, dilation), strict=True)])
        for near_strips, far_strips in ((down_near, down_far), (along_near, along_far))
    )
    kernel = (rows[:, :, None] * columns[:, None])[:, None]
    # inside, where no strip reaches beyond the map
    inside = F.conv2d(x, kernel, groups=3)
    weights = F.conv2d(inside, module.out.weight, module.out.bias)
    edge = side // 2
    found = module.attention(x).weights[..., edge:-edge, edge:-edge]
    close(found, weights)
    close(module(x)[..., edge:-edge, edge:-edge], weights * x[..., edge:-edge, edge:-edge])


def test_options() -> None:
    sizes = {k: (LSKA(2, k).near, LSKA(2, k).far) for k in (7, 11, 23, 35, 41, 53)}
    assert sizes == {7: (3, 3), 11: (3, 5), 23: (5, 7), 35: (5, 11), 41: (5, 13), 53: (5, 17)}  # the paper's
    with pytest.raises(RegardError, match="8 steps of dilation 3"):
        LSKA(2, 25)
    with pytest.raises(RegardError, match="dilation 0"):
        LSKA(2, 7, 0)
