from __future__ import annotations

import torch

from regard.nn.attention.strip_pooling import StripPooling


def test_by_loops() -> None:
    module, x = StripPooling(3).double(), torch.randn(2, 3, 5, 7, dtype=torch.float64)
    y, by_row, by_column = module(x), x.mean(3), x.mean(2)

    def convolved(means: torch.Tensor, conv: torch.nn.Conv1d, at: int) -> torch.Tensor:
        assert conv.bias is not None
        taps = [t for t in range(3) if 0 <= at + t - 1 < means.shape[2]]
        products = [means[:, :, at + t - 1] @ conv.weight[:, :, t].T for t in taps]
        return torch.stack(products).sum(0) + conv.bias

    out = module.out
    assert out.bias is not None
    for i in range(5):
        for j in range(7):
            crossing = convolved(by_row, module.rows, i) + convolved(by_column, module.columns, j)
            weights = 1 / (1 + torch.exp(-crossing @ out.weight[:, :, 0, 0].T - out.bias))
            torch.testing.assert_close(y[:, :, i, j], x[:, :, i, j] * weights, rtol=0, atol=1e-12)
