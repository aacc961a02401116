from __future__ import annotations

import math

import pytest
import torch

from regard.nn.attention.simam import SimAM


@pytest.mark.parametrize("size", [(3, 5), (1, 7), (1, 2)])
def test_by_loops(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    found = SimAM(3, 0.01).attention(x)
    assert found.kind == "elements"
    for channel, weights in zip(x.flatten(0, 1).flatten(1), found.weights.flatten(0, 1).flatten(1), strict=True):
        values = channel.tolist()
        mean = sum(values) / len(values)
        variance = sum((t - mean) ** 2 for t in values) / (len(values) - 1)
        for t, weight in zip(values, weights.tolist(), strict=True):
            # equation 5, e = 4 (v + l) / ((t - mu)^2 + 2 v + 2 l), turned over
            energy = 4 * (variance + 0.01) / ((t - mean) ** 2 + 2 * variance + 2 * 0.01)
            assert weight == pytest.approx(1 / (1 + math.exp(-1 / energy)), abs=1e-12)
    assert torch.equal(SimAM(3, 0.01)(x), x * found.weights)


def test_one_position_stands_out_of_nothing() -> None:
    x = torch.randn(2, 5, 1, 1)
    assert torch.allclose(SimAM(5)(x), x / (1 + math.exp(-0.5)))


def test_half_precision_is_as_good_as_its_input() -> None:
    x = (torch.randn(1, 2, 40, 40) * 16).half()  # the sum of squares is 400,000; float16 ends at 65,504
    assert torch.allclose(SimAM(2)(x).float(), SimAM(2)(x.float()), rtol=1e-3)


def test_the_smallest_weight_is_of_the_mean() -> None:
    x = torch.tensor([[[[-1.0, 0.0, 1.0, 8.0, -8.0]]]])
    weights = SimAM(1).attention(x).weights.flatten()
    assert weights.argmin() == 1
    assert weights[1].item() == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert not list(SimAM(1).parameters())
