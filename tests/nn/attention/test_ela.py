from __future__ import annotations

import math

import pytest
import torch

from regard.errors import RegardError
from regard.nn.attention.ela import ELA


def strip(means: list[list[float]], conv: torch.nn.Conv1d, norm: torch.nn.GroupNorm) -> list[list[float]]:
    """Means of rows or columns, by channel -> their weights, by loops."""
    k, n = conv.kernel_size[0], len(means[0])
    taps = conv.weight[:, 0].tolist()
    sums = [
        [sum(taps[c][t] * line[i + t - k // 2] for t in range(k) if 0 <= i + t - k // 2 < n) for i in range(n)]
        for c, line in enumerate(means)
    ]
    part = len(means) // norm.num_groups
    for first in range(0, len(means), part):
        group = [value for line in sums[first : first + part] for value in line]
        mean = sum(group) / len(group)
        spread = math.sqrt(sum((v - mean) ** 2 for v in group) / len(group) + norm.eps)
        for c in range(first, first + part):
            scale, offset = norm.weight[c].item(), norm.bias[c].item()
            sums[c] = [1 / (1 + math.exp(-((v - mean) / spread * scale + offset))) for v in sums[c]]
    return sums


@pytest.mark.parametrize(("channels", "groups", "size"), [(6, 2, (5, 7)), (3, 16, (2, 3)), (4, 4, (1, 1))])
def test_by_loops(channels: int, groups: int, size: tuple[int, int]) -> None:
    module, x = ELA(channels, 5, groups).double(), torch.randn(2, channels, *size, dtype=torch.float64)
    for norm in (module.norm_rows, module.norm_columns):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    y = module(x)
    for image in range(2):
        by_row = torch.tensor(strip(x[image].mean(2).tolist(), module.rows, module.norm_rows))
        by_column = torch.tensor(strip(x[image].mean(1).tolist(), module.columns, module.norm_columns))
        expected = x[image] * by_row[:, :, None].double() * by_column[:, None].double()
        torch.testing.assert_close(y[image], expected, rtol=0, atol=1e-6)


def test_groups_are_what_channels_and_wish_have_in_common() -> None:
    assert [ELA(c).groups for c in (1, 6, 16, 24, 128)] == [1, 2, 16, 8, 16]


def test_options() -> None:
    with pytest.raises(RegardError, match="kernel_size 4"):
        ELA(8, 4)
    with pytest.raises(RegardError, match="groups 0"):
        ELA(8, 7, 0)
