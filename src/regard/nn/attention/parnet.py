"""ParNet's block (Goyal et al., 2110.07641, section 3.1): two convolutions side by side, and SE in place of a skip.

y = silu(BN(conv_1x1(x)) + BN(conv_3x3(x)) + n sigmoid(W mean(n))),  n = BN(x): "skip-squeeze-excitation", one layer
where SE has two, beside the convolutions instead of behind them.

``attention`` shows sigmoid(W mean(n)), the weights of the third branch.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import Attention, Card
from regard.nn.attention.norm import MapNorm
from regard.types import AttentionMap


class ParNetAttention(Attention):
    """Convolutions of 1 x 1 and 3 x 3 and the map itself, weighed by channel, added.

    Args:
        in_channels: channels of the input and the output.
    """

    card = Card(
        family="channel",
        paper="2110.07641",
        equation="y = silu(BN(conv_1x1(x)) + BN(conv_3x3(x)) + n sigmoid(W mean(n))), n = BN(x)",
        parameters="11 * C**2 + 7 * C",
        flops="C * N * (20 * C + 5) + 2 * C**2 + C",
        peers=("its definition, by loops",),
        when="When a channel gate should run in parallel with convolutions in one block; its 11 C^2 parameters make"
        " it a block of capacity rather than a small gate.",
    )

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        c = in_channels
        self.narrow = nn.Sequential(nn.Conv2d(c, c, 1, bias=False), MapNorm(c))
        self.wide = nn.Sequential(nn.Conv2d(c, c, 3, padding=1, bias=False), MapNorm(c))
        self.norm = MapNorm(c)
        self.excite = nn.Linear(c, c)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        normed: Tensor = self.norm(x)
        y: Tensor = self.act(self.narrow(x) + self.wide(x) + normed * self.weights(normed)[:, :, None, None])
        return y

    def weights(self, normed: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C)."""
        weights: Tensor = self.excite(normed.mean((2, 3)))
        return weights.sigmoid()

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:  # noqa: ARG002
        """Weights of the channels in the third branch, (B, C); the same for every query."""
        return AttentionMap("channel", self.weights(self.norm(x)))
