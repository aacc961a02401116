from __future__ import annotations

import pytest
import torch

from regard.errors import RegardError
from regard.nn.attention.core import merge_heads, to_map
from regard.nn.attention.polarity import PolarityAttention


def test_by_matrices_of_all_pairs() -> None:
    module, x = PolarityAttention(8, 2, 3).double(), torch.randn(2, 8, 3, 5, dtype=torch.float64)
    for parameter in (module.power, module.scale):
        torch.nn.init.normal_(parameter)
    q, k, v, g = module.project(x)
    mixed, rows = torch.zeros_like(v), []
    for head in range(2):
        power = 1 + 4 / (1 + torch.exp(-module.power[head, 0]))
        for image in range(2):
            signs: dict[bool, list[list[torch.Tensor]]] = {}
            for same in (True, False):
                signs[same] = [
                    [
                        sum(
                            (
                                (abs(a * b)) ** p
                                for a, b, p in zip(one, other, power, strict=True)
                                if a * b != 0 and (a * b > 0) == same
                            ),
                            torch.zeros((), dtype=torch.float64),
                        )
                        for other in k[image, head]
                    ]
                    for one in q[image, head]
                ]
            for half, same in enumerate((True, False)):
                weights = torch.stack([torch.stack(row) for row in signs[same]])
                weights = weights / weights.sum(1, keepdim=True)
                channels = slice(2 * half, 2 * half + 2)
                mixed[image, head, :, channels] = weights @ v[image, head, :, channels]
                rows.append((image, 2 * head + half, weights[7]))
    around = torch.zeros_like(v)
    for image in range(2):
        for head in range(2):
            around[image, head] = module.skip(v[image, head].T.view(1, 4, 3, 5))[0].flatten(1).T
    torch.testing.assert_close(module.mix(q, k, v), mixed, rtol=0, atol=1e-10)
    expected = to_map(module.out(merge_heads(mixed + around) * g), (3, 5))
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-10)
    found = module.attention(x, (1, 2)).weights
    for image, row, weights in rows:
        torch.testing.assert_close(found[image, row, 0].flatten(), weights, rtol=0, atol=1e-10)


def test_options() -> None:
    with pytest.raises(RegardError, match="into multiples of 2"):
        PolarityAttention(12, 4)
    with pytest.raises(RegardError, match="kernel 2"):
        PolarityAttention(8, 2, 2)
