"""Mixed local channel attention by its definition, patch by patch."""

from __future__ import annotations

import pytest
import torch
from catalogue import build, some
from masked import close
from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.eca import ECA
from regard.nn.attention.mlca import MLCA


def of_channels(means: Tensor, kernel: Tensor) -> Tensor:
    """Weight of each channel from the means around it: (B, C) -> (B, C)."""
    k = len(kernel)
    padded = torch.cat((means.new_zeros(len(means), k // 2), means, means.new_zeros(len(means), k // 2)), 1)
    scores = torch.stack([(padded[:, c : c + k] * kernel).sum(1) for c in range(means.shape[1])], 1)
    return 1 / (1 + torch.exp(-scores))


@pytest.mark.parametrize(("size", "grid"), [((9, 7), 3), ((8, 6), 2), ((11, 13), 5)])
def test_by_definition(size: tuple[int, int], grid: int) -> None:
    module, x = build("MLCA", 7, grid=grid, local_weight=0.3, kernel_size=3), some(7, size)
    assert isinstance(module, MLCA)
    lines = [[n * i // grid for i in range(grid + 1)] for n in size]
    patches = [(r, c) for r in range(grid) for c in range(grid)]
    spans = [(slice(lines[0][r], lines[0][r + 1]), slice(lines[1][c], lines[1][c + 1])) for r, c in patches]
    means = [x[:, :, rows, columns].mean((2, 3)) for rows, columns in spans]
    overall = of_channels(sum(means) / len(means), module.of_map.weight.flatten())
    expected = torch.zeros_like(x)
    for mean, (rows, columns) in zip(means, spans, strict=True):
        weights = 0.3 * of_channels(mean, module.of_patch.weight.flatten()) + 0.7 * overall
        expected[:, :, rows, columns] = weights[:, :, None, None]
    close(module.attention(x).weights, expected)
    close(module(x), x * expected)


@pytest.mark.parametrize("of_patches", [0.0, 1.0])
def test_of_one_patch_it_is_eca(of_patches: float) -> None:
    module, eca, x = build("MLCA", grid=1, local_weight=of_patches), ECA(16).double(), some()
    assert isinstance(module, MLCA)
    eca.conv.load_state_dict((module.of_patch if of_patches else module.of_map).state_dict())
    close(module(x), eca(x))


def test_options() -> None:
    for option, value in (("grid", 0), ("local_weight", 1.5), ("kernel_size", 4)):
        with pytest.raises(RegardError, match=f"{option} {value}"):
            MLCA(8, **{option: value})
