from __future__ import annotations

import math

import pytest
import torch

from regard.errors import RegardError
from regard.nn.attention.gct import EPSILON, GCT


@pytest.mark.parametrize("channels", [2, 7])
@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_by_loops_in_the_papers_form(channels: int, size: tuple[int, int]) -> None:
    block, x = GCT(channels).double(), torch.randn(2, channels, *size, dtype=torch.float64)
    torch.nn.init.normal_(block.alpha)
    torch.nn.init.normal_(block.beta)
    y = block(x)
    for image in range(2):
        s = [
            block.alpha[c].item() * math.sqrt(sum(v * v for v in x[image, c].flatten().tolist()) + EPSILON)
            for c in range(channels)
        ]
        length = math.sqrt(sum(v * v for v in s) + channels * EPSILON)
        for c in range(channels):
            gate = 1 + math.tanh(block.gamma[c].item() * math.sqrt(channels) * s[c] / length + block.beta[c].item())
            torch.testing.assert_close(y[image, c], gate * x[image, c], rtol=0, atol=1e-12)


def test_channels_compete_with_positive_gamma_and_cooperate_with_negative() -> None:
    """A channel that grows alone is lifted above the others, or pushed below them."""
    block, x = GCT(4), torch.ones(1, 4, 3, 3)
    x[:, 0] = 5
    for sign in (1.0, -1.0):
        torch.nn.init.constant_(block.gamma, sign)
        weights = block.attention(x).weights[0]
        assert ((weights[0] > weights[1]) == (sign > 0)).item()


def test_the_scale_of_the_map_does_not_matter() -> None:
    block, x = GCT(5).double(), torch.randn(2, 5, 3, 7, dtype=torch.float64)
    torch.testing.assert_close(block(100 * x), 100 * block(x), rtol=1e-5, atol=0)


def test_a_zero_start_is_the_identity_and_says_what_that_means() -> None:
    x = torch.randn(2, 8, 3, 5)
    assert torch.equal(GCT(8, zero_start=True)(x), x)
    assert "never learn" in GCT(8, zero_start=True).note
    assert (GCT(8)(x) - x).abs().mean() > 0.01


def test_one_channel_is_rejected() -> None:
    with pytest.raises(RegardError, match=r"1 channel has no other[\s\S]*2 channels or more"):
        GCT(1)


def test_half_precision_squares_do_not_overflow() -> None:
    block, x = GCT(4), 300 * torch.ones(1, 4, 40, 40)
    torch.testing.assert_close(block.half()(x.half()).float(), block.float()(x), rtol=2e-3, atol=0)
