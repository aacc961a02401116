from __future__ import annotations

import pytest
import torch

from regard.errors import RegardError
from regard.nn.attention.double import DoubleAttention


def test_by_loops() -> None:
    module, x = DoubleAttention(6, 2).double(), torch.randn(2, 6, 3, 5, dtype=torch.float64)
    y, found = module(x), module.attention(x, (1, 4))
    for image in range(2):
        vectors = list(x[image].flatten(1).T)
        gathering = torch.stack([module.gathering(v) for v in vectors]).exp()
        gathering = gathering / gathering.sum(0)
        gathered = [sum(gathering[j, n] * module.features(v) for j, v in enumerate(vectors)) for n in range(3)]
        for i, v in enumerate(vectors):
            shares = module.sharing(v).exp() / module.sharing(v).exp().sum()
            expected = module.out(sum(s * g for s, g in zip(shares, gathered, strict=True)))
            torch.testing.assert_close(y[image, :, i // 5, i % 5], expected, rtol=0, atol=1e-12)
            if i == 9:
                row = torch.stack([(shares * gathering[j]).sum() for j in range(15)]).view(3, 5)
                torch.testing.assert_close(found.weights[image, 0, 0], row, rtol=0, atol=1e-12)


def test_options() -> None:
    assert DoubleAttention(3).hidden == 2
    with pytest.raises(RegardError, match="reduction 0"):
        DoubleAttention(8, 0)
