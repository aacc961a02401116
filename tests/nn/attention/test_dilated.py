from __future__ import annotations

import pytest
import torch

from regard.errors import RegardError
from regard.nn.attention.core import merge_heads, to_map
from regard.nn.attention.dilated import MultiScaleDilatedAttention


@pytest.mark.parametrize(("kernel", "scales"), [(3, 4), (5, 2), (1, 1)])
def test_equals_attention_under_a_mask(kernel: int, scales: int) -> None:
    size = (7, 11)
    module = MultiScaleDilatedAttention(12, 4, kernel, scales).double()
    x = torch.randn(2, 12, *size, dtype=torch.float64)
    q, k, v = module.project(x)
    masks = [module.attention_mask((i, j), size).flatten(1) for i in range(7) for j in range(11)]
    mask = torch.stack(masks, 1)  # (heads, N, N)
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(module(x), to_map(module.out(merge_heads(mixed)), size), rtol=0, atol=1e-12)


def test_each_head_looks_further() -> None:
    mask = MultiScaleDilatedAttention(8, 4, scales=3).attention_mask((6, 6), (13, 13))
    rows = [mask[h].any(1).nonzero().flatten().tolist() for h in range(4)]
    assert rows == [[5, 6, 7], [4, 6, 8], [3, 6, 9], [5, 6, 7]]


def test_options() -> None:
    with pytest.raises(RegardError, match="kernel 2"):
        MultiScaleDilatedAttention(8, 4, 2)
    with pytest.raises(RegardError, match="scales 0"):
        MultiScaleDilatedAttention(8, 4, 3, 0)
