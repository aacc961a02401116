from __future__ import annotations

import math

import torch

from regard.nn.attention.token_statistics import TokenStatisticsAttention


def test_by_loops() -> None:
    module, x = TokenStatisticsAttention(6, 3).double(), torch.randn(2, 6, 2, 5, dtype=torch.float64)
    torch.nn.init.normal_(module.temperature)
    y, found = module(x), module.attention(x).weights
    for image in range(2):
        w = [module.project(v).tolist() for v in x[image].flatten(1).T]
        lengths = [sum(row[c] ** 2 for row in w) for c in range(6)]
        shares = []
        for row in w:
            scores = [
                math.exp(module.temperature[h].item() * sum(row[c] ** 2 / lengths[c] for c in (2 * h, 2 * h + 1)))
                for h in range(3)
            ]
            shares.append([s / sum(scores) for s in scores])
        for i, row in enumerate(w):
            expected = []
            for c in range(6):
                h = c // 2
                total = sum(s[h] for s in shares)
                moment = sum(s[h] * other[c] ** 2 for s, other in zip(shares, w, strict=True)) / total
                expected.append(shares[i][h] / (1 + moment))
            weights = torch.tensor(expected, dtype=torch.float64)
            torch.testing.assert_close(found[image, :, i // 5, i % 5], weights, rtol=0, atol=1e-12)
            out = module.out(-weights * torch.tensor(row, dtype=torch.float64))
            torch.testing.assert_close(y[image, :, i // 5, i % 5], out, rtol=0, atol=1e-12)
