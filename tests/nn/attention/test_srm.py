from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from regard.nn.attention.srm import EPSILON, SRM


def fitted(channels: int) -> SRM:
    """Return a module whose batch norm is not the identity."""
    block = SRM(channels).double()
    for values in (block.bn.running_mean, block.bn.weight.data, block.bn.bias.data):
        assert values is not None
        values.normal_()
    assert block.bn.running_var is not None
    block.bn.running_var.uniform_(0.5, 2)
    return block


def styles(block: SRM, x: Tensor) -> list[list[float]]:
    """Return z of each image and channel, by loops."""
    found = []
    for image in x:
        row = []
        for weights, channel in zip(block.cfc.tolist(), image, strict=True):
            values = channel.flatten().tolist()
            mean = sum(values) / len(values)
            spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values) + EPSILON)
            row.append(weights[0] * mean + weights[1] * spread)
        found.append(row)
    return found


@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_by_loops(size: tuple[int, int]) -> None:
    block, x = fitted(7).eval(), torch.randn(2, 7, *size, dtype=torch.float64)
    bn = block.bn
    assert bn.running_mean is not None
    assert bn.running_var is not None
    z = torch.tensor(styles(block, x), dtype=torch.float64)
    scores = (z - bn.running_mean) / (bn.running_var + bn.eps).sqrt() * bn.weight + bn.bias
    expected = x / (1 + (-scores).exp())[:, :, None, None]
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)


def test_in_training_styles_are_compared_over_the_batch() -> None:
    block, x = fitted(3).train(), torch.randn(5, 3, 4, 2, dtype=torch.float64)
    z = torch.tensor(styles(block, x), dtype=torch.float64)
    scores = (z - z.mean(0)) / (z.var(0, correction=0) + block.bn.eps).sqrt() * block.bn.weight + block.bn.bias
    torch.testing.assert_close(block.attention(x).weights, scores.sigmoid(), rtol=0, atol=1e-12)


def test_a_single_image_in_training_uses_what_was_learned_of_others() -> None:
    block, x = fitted(3), torch.randn(1, 3, 4, 2, dtype=torch.float64)
    before = {key: value.clone() for key, value in block.state_dict().items()}
    torch.testing.assert_close(block.train()(x), block.eval()(x), rtol=0, atol=1e-12)
    assert all(torch.equal(value, before[key]) for key, value in block.state_dict().items())


def test_a_channel_is_weighed_by_itself_alone() -> None:
    block, x = fitted(4).eval(), torch.randn(2, 4, 3, 5, dtype=torch.float64)
    other = x.clone()
    other[:, 2] *= 3
    changed = (block.attention(other).weights - block.attention(x).weights).abs().amax(0) > 1e-6
    assert changed.tolist() == [False, False, True, False]
