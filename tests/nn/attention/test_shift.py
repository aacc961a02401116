from __future__ import annotations

import pytest
import torch

from regard.nn.attention.shift import S2Attention


@pytest.mark.parametrize("channels", [2, 5])
def test_by_loops(channels: int) -> None:
    """Of five channels the first comes from above, the second from below, the third from left, two from the right."""
    module, x = S2Attention(channels).double(), torch.randn(2, channels, 3, 4, dtype=torch.float64)
    steps = [(-1, 0), (1, 0), (0, -1), (0, 1), (0, 1)] if channels == 5 else [(0, 1)] * 2
    others = [(0, -1), (0, 1), (-1, 0), (1, 0), (1, 0)] if channels == 5 else [(1, 0)] * 2
    projected = module.project(x).view(2, 3, channels, 3, 4)
    shifted = projected.clone()
    sources: dict[tuple[int, int, int, int], tuple[int, int]] = {}
    for c in range(channels):
        for k, (down, along) in enumerate((steps[c], others[c])):
            for i in range(3):
                for j in range(4):
                    at = (min(max(i + down, 0), 2), min(max(j + along, 0), 3))
                    sources[k, c, i, j] = at
                    shifted[:, k, c, i, j] = projected[:, k, c, at[0], at[1]]
    scores = module.choose(shifted.sum(1).mean((2, 3))).view(2, 3, channels).exp()
    weights = scores / scores.sum(1, keepdim=True)
    expected = module.out((shifted * weights[..., None, None]).sum(1))
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)
    for i, j in ((0, 0), (1, 2), (2, 3)):
        found = module.attention(x, (i, j)).weights[:, :, 0]
        row = torch.zeros_like(found)
        for c in range(channels):
            row[:, c, i, j] += weights[:, 2, c]
            for k in range(2):
                row[:, c, *sources[k, c, i, j]] += weights[:, k, c]
        torch.testing.assert_close(found, row, rtol=0, atol=1e-12)
