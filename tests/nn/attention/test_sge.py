from __future__ import annotations

import math

import pytest
import torch

from regard.errors import RegardError
from regard.nn.attention.sge import EPSILON, SGE


@pytest.mark.parametrize(("channels", "groups"), [(6, 2), (5, 5), (4, 1)])
@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_by_loops(channels: int, groups: int, size: tuple[int, int]) -> None:
    block, x = SGE(channels, groups).double(), torch.randn(2, channels, *size, dtype=torch.float64)
    torch.nn.init.normal_(block.gamma)
    torch.nn.init.normal_(block.beta)
    y, found = block(x), block.attention(x)
    assert found.kind == "elements"
    part = channels // groups
    for image in range(2):
        for group in range(groups):
            own = slice(group * part, (group + 1) * part)
            vectors = x[image, own].flatten(1).T.tolist()
            n = len(vectors)
            g = [sum(v[c] for v in vectors) / n for c in range(part)]
            alike = [sum(a * b for a, b in zip(g, v, strict=True)) for v in vectors]
            mean = sum(alike) / n
            spread = math.sqrt(sum((a - mean) ** 2 for a in alike) / n + EPSILON)
            scores = [block.gamma[group].item() * (a - mean) / spread + block.beta[group].item() for a in alike]
            weights = torch.tensor([1 / (1 + math.exp(-s)) for s in scores], dtype=torch.float64).view(size)
            torch.testing.assert_close(y[image, own], weights * x[image, own], rtol=0, atol=1e-12)
            torch.testing.assert_close(found.weights[image, own], weights.expand(part, -1, -1), rtol=0, atol=1e-12)


def test_what_resembles_the_whole_is_kept() -> None:
    x = torch.ones(1, 8, 4, 4)
    x[:, :, 1, 2] = -1
    weights = SGE(8).attention(x).weights[0, 0]
    assert (weights[1, 2] < weights[0, 0]).item()


def test_a_zero_start_weighs_all_positions_alike() -> None:
    x = torch.randn(2, 8, 3, 5)
    torch.testing.assert_close(SGE(8, zero_start=True)(x), x * torch.tensor(1.0).sigmoid())
    weights = SGE(8).attention(x).weights
    assert (weights - weights[:, :, :1, :1]).abs().max() > 0.1


def test_groups() -> None:
    with pytest.raises(RegardError, match=r"groups 8 does not divide 15 channels[\s\S]*1, 3, 5, 15[\s\S]*nearest is 5"):
        SGE(15)
    with pytest.raises(RegardError, match=r"groups 0 does not divide 16[\s\S]*nearest is 1"):
        SGE(16, 0)
