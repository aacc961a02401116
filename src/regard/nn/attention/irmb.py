"""Inverted residual mobile block (Zhang et al., EMO, 2301.01146, section 3): window attention inside an expansion.

V = W_e BN(x), of lambda C channels, and Q, K = W_q BN(x), W_k BN(x), of C channels;
m = softmax(Q K^T / sqrt(d)) V within windows, the expanded attention (EW-MHSA);
y = x + W_s (m + silu(BN(P * m))), P a depth-wise convolution, W_s the shrinking matrix.

Deviations: Q and K have matrices of their own, as in the authors' code, where the paper writes Q = K = X; the expansion
is linear; windows are those of `WindowAttention`, so that padding takes no part.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import Card, Size, check_at_least, check_odd, merge_heads, split_heads, to_map, to_tokens
from regard.nn.attention.norm import MapNorm
from regard.nn.attention.window import WindowAttention


class IRMB(WindowAttention):
    """A residual block: attention within windows to expanded values, then a convolution around each position.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        window: side of a window.
        expansion: lambda, channels of the values per channel.
        kernel: side of the convolution, odd.
        pos_embed: kind of position, see ``POSITIONS``; "relative" is a bias for each offset.

    Raises:
        RegardError: ``expansion`` is not positive, ``kernel`` is even, or as for `WindowAttention`.
    """

    card = Card(
        family="local",
        paper="2301.01146",
        equation="y = x + W_s (m + silu(BN(P * m))), m = softmax(Q K^T / sqrt(d)) W_e BN(x) within windows",
        parameters="C**2 * (2 + 2 * expansion) + C * (5 + expansion * (kernel**2 + 3))",
        flops="2 * N * C**2 * (2 + 2 * expansion) + N * C * (1 + expansion * (2 * kernel**2 + 2))"
        " + 2 * C * (1 + expansion) * ceiling(H / window) * ceiling(W / window) * window**4",
        peers=("its definition, window by window",),
        when="When one block should attend within windows and convolve around each position, as in a network for small"
        " devices; the cost grows linearly with N.",
    )

    def __init__(
        self,
        in_channels: int,
        num_heads: int = 4,
        window: int = 7,
        expansion: int = 3,
        kernel: int = 5,
        pos_embed: str = "none",
    ) -> None:
        check_at_least("IRMB", "expansion", expansion, 1)
        check_odd("IRMB", "kernel", kernel)
        super().__init__(in_channels, num_heads, window, pos_embed)
        self.expansion, self.kernel = expansion, kernel
        wide = expansion * in_channels
        self.norm = MapNorm(in_channels)
        self.qkv = nn.Linear(in_channels, 2 * in_channels + wide)
        self.around = nn.Sequential(
            nn.Conv2d(wide, wide, kernel, padding=kernel // 2, groups=wide, bias=False), MapNorm(wide), nn.SiLU()
        )
        self.out = nn.Linear(wide, in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x + super().forward(x)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries and keys (B, heads, H * W, d), values (B, heads, H * W, expansion * d)."""
        size, c = (x.shape[2], x.shape[3]), self.in_channels
        tokens = to_tokens(self.position.on_map(self.norm(x)))
        parts = self.qkv(tokens).split((c, c, self.expansion * c), -1)
        q, k, v = (split_heads(t, self.num_heads) for t in parts)
        return self.position.on_heads(q, size), self.position.on_heads(k, size), v

    def join(self, mixed: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """Mixed values (B, heads, H * W, expansion * d) -> output without the input, (B, C, H, W)."""
        wide = to_map(merge_heads(mixed), size)
        return to_map(self.out(to_tokens(wide + self.around(wide))), size)
