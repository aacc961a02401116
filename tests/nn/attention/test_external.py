from __future__ import annotations

import math

import pytest
import torch

from regard.errors import RegardError
from regard.nn.attention.external import ExternalAttention


def test_by_loops() -> None:
    module, x = ExternalAttention(3, 5).double(), torch.randn(2, 3, 2, 7, dtype=torch.float64)
    y, found = module(x), module.attention(x)
    keys, values = module.keys.weight, module.values.weight
    for image in range(2):
        vectors = list(x[image].flatten(1).T)
        scores = [[math.exp((v @ key).item()) for key in keys] for v in vectors]
        totals = [sum(row[s] for row in scores) for s in range(5)]
        shares = [[row[s] / totals[s] for s in range(5)] for row in scores]
        expected = torch.tensor(shares, dtype=torch.float64).T.view(5, 1, 2, 7)
        torch.testing.assert_close(found.weights[image], expected, rtol=0, atol=1e-12)
        for i, row in enumerate(shares):
            rebuilt = sum(w / sum(row) * values[:, s] for s, w in enumerate(row))
            torch.testing.assert_close(y[image, :, i // 7, i % 7], rebuilt, rtol=0, atol=1e-12)


def test_options() -> None:
    with pytest.raises(RegardError, match="memory 1 is too small"):
        ExternalAttention(8, 1)
