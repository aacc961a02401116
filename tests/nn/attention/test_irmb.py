"""The inverted residual mobile block by its definition, window by window."""

from __future__ import annotations

import pytest
import torch
from catalogue import build, some
from masked import close
from slow import batch_norm, convolve
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.irmb import IRMB


def stirred(**options: int) -> IRMB:
    module = build("IRMB", num_heads=2, window=3, **options)
    assert isinstance(module, IRMB)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    return module


def by_windows(module: IRMB, x: Tensor) -> Tensor:
    """Every position of every window by loops, with matrices as the paper has them."""
    batch, c, height, width = x.shape
    wide, heads = module.expansion * c, module.num_heads
    parts = torch.einsum("oc,bchw->bohw", module.qkv.weight, batch_norm(x, module.norm))
    q, k, v = (parts + module.qkv.bias[:, None, None]).split((c, c, wide), 1)
    m = torch.zeros(batch, wide, height, width, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            top, left = i - i % module.window, j - j % module.window
            here = (..., slice(top, top + module.window), slice(left, left + module.window))
            for h in range(heads):
                of_head = slice(h * c // heads, (h + 1) * c // heads)
                of_values = slice(h * wide // heads, (h + 1) * wide // heads)
                keys, values = k[:, of_head][here].flatten(2), v[:, of_values][here].flatten(2)
                scores = torch.einsum("bd,bdn->bn", q[:, of_head, i, j], keys) / (c // heads) ** 0.5
                m[:, of_values, i, j] = torch.einsum("bn,bdn->bd", scores.softmax(-1), values)
    conv, norm, _ = module.around
    assert isinstance(conv, nn.Conv2d)
    dense = nn.Conv2d(wide, wide, conv.kernel_size[0], padding=conv.padding[0], bias=False).double()
    with torch.no_grad():
        dense.weight.zero_()
        dense.weight[range(wide), range(wide)] = conv.weight[:, 0]
    around = batch_norm(convolve(m, dense), norm)
    m = m + around * around.sigmoid()
    return x + torch.einsum("oc,bchw->bohw", module.out.weight, m) + module.out.bias[:, None, None]


@pytest.mark.parametrize("size", [(5, 7), (3, 3), (1, 1), (2, 11)])
def test_by_definition(size: tuple[int, int]) -> None:
    module, x = stirred(expansion=2, kernel=3), some(size=size)
    close(module(x), by_windows(module, x), 1e-11)


def test_with_a_shrinking_matrix_of_zeros_it_is_the_identity() -> None:
    module, x = stirred(), some()
    nn.init.zeros_(module.out.weight)
    nn.init.zeros_(module.out.bias)
    assert torch.equal(module(x), x)


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="expansion 0"):
        IRMB(8, expansion=0)
    with pytest.raises(RegardError, match="kernel 4 is not odd"):
        IRMB(8, kernel=4)
