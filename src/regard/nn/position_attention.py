"""Attention with convolutional projections and a convolution of the values, as YOLOv10, 11, 12 and 26 have it.

Partial self-attention (Wang et al., YOLOv10, 2405.14458, section 3.2) and area attention (Tian et al., YOLOv12,
2502.12524, section 3.2): y = W_o [softmax(q k^T / sqrt(d_k)) v + P * v], where q, k, v come from one 1x1 convolution
with batch norm, P is a depth-wise convolution, and area attention keeps the softmax inside each of ``areas`` equal
stretches of the positions in reading order. State-dict keys are those of the published checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.core import (
    Attention,
    Size,
    attention_weights,
    check_divides,
    check_query,
    fused_attention,
)
from regard.nn.conv import Conv
from regard.nn.gradients import contiguous_gradient
from regard.nn.join import join
from regard.types import AttentionMap

CHANNELS_PER_HEAD = 64


def heads_for(channels: int) -> int:
    """Number of heads of YOLO11's blocks: one for each 64 channels."""
    return max(channels // CHANNELS_PER_HEAD, 1)


class PositionAttention(Attention):
    """Attention of all positions, or inside areas, by 1x1 convolutions, plus a depth-wise convolution of the values.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: each works on ``in_channels / num_heads`` channels of values.
        key_ratio: channels of queries and keys as a fraction of those of values.
        areas: equal stretches of the positions that do not see each other; 1 is attention to the whole map.
        kernel_size: odd side of the convolution of the values.

    Raises:
        RegardError: ``num_heads`` does not divide ``in_channels``.
    """

    def __init__(
        self, in_channels: int, num_heads: int = 4, key_ratio: float = 0.5, areas: int = 1, kernel_size: int = 3
    ) -> None:
        super().__init__(in_channels)
        check_divides(in_channels, num_heads)
        self.num_heads, self.areas = num_heads, areas
        self.value_dim = in_channels // num_heads
        self.key_dim = int(self.value_dim * key_ratio)
        self.qkv = Conv(in_channels, in_channels + 2 * self.key_dim * num_heads, activation=False)
        self.proj = Conv(in_channels, in_channels, activation=False)
        self.pe = Conv(in_channels, in_channels, kernel_size, groups=in_channels, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W).

        Raises:
            RegardError: the number of positions is not a multiple of ``areas``.
        """
        batch, channels, height, width = x.shape
        q, k, v = self._split(x)
        q, k, in_areas = self._into_areas(q), self._into_areas(k), self._into_areas(v)
        mixed = fused_attention(q, k, in_areas)  # (B * areas, heads, N / areas, d)
        length = height * width // self.areas
        out = mixed.reshape(batch, self.areas, self.num_heads, length, self.value_dim).permute(0, 2, 4, 1, 3)
        values = v.transpose(2, 3).reshape(batch, channels, height, width)
        return self.proj(out.reshape(batch, channels, height, width) + self.pe(values))

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Row of weights of one query for each head: (B, heads, 1, H, W), zero outside its area."""
        size = (x.shape[2], x.shape[3])
        place = check_query(query, size)
        q, k, _ = self._split(x)
        at = place[0] * size[1] + place[1]
        positions = torch.arange(k.shape[2], device=k.device)
        length = k.shape[2] // self.areas
        weights = attention_weights(q[:, :, at : at + 1], k, allowed=positions // length == at // length)
        return AttentionMap("rows", weights.reshape(*weights.shape[:3], *size), (place,))

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries and keys (B, heads, N, d_k), values (B, heads, N, d_v)."""
        n = x.shape[2] * x.shape[3]
        if not torch.compiler.is_compiling() and n % self.areas:
            raise RegardError(
                f"a map of {x.shape[2]} x {x.shape[3]} positions cannot be cut into {self.areas} equal areas",
                expected=f"a number of positions, height times width, that {self.areas} divides",
            )
        d = self.key_dim
        shape = (x.shape[0], self.num_heads, 2 * d + self.value_dim, n)
        qkv = contiguous_gradient(self.qkv(x)).reshape(shape).transpose(2, 3)
        return qkv[..., :d], qkv[..., d : 2 * d], qkv[..., 2 * d :]

    def _into_areas(self, tokens: Tensor) -> Tensor:
        """(B, heads, N, d) -> (B * areas, heads, N / areas, d), with a contiguous last dimension."""
        batch, heads, n, d = tokens.shape
        areas = tokens.reshape(batch, heads, self.areas, n // self.areas, d).transpose(1, 2)
        return areas.reshape(batch * self.areas, heads, n // self.areas, d).contiguous()


class PSABlock(nn.Module):
    """x + attention(x), then x + FFN(x), without a norm before either.

    Args:
        channels: channels of the input and the output.
        key_ratio: channels of queries and keys as a fraction of those of values.
        num_heads: heads of the attention.
        shortcut: whether both add their input.
    """

    def __init__(self, channels: int, key_ratio: float = 0.5, num_heads: int = 4, shortcut: bool = True) -> None:
        super().__init__()
        self.attn = PositionAttention(channels, num_heads, key_ratio)
        self.ffn = nn.Sequential(Conv(channels, 2 * channels), Conv(2 * channels, channels, activation=False))
        self.add = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = x + self.attn(x) if self.add else self.attn(x)
        return x + self.ffn(x) if self.add else self.ffn(x)


class C2PSA(nn.Module):
    """Half of the channels pass a chain of attention blocks, and are joined with the other half (YOLO11, YOLO26).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, as many as of the input.
        expansion: channels of each half, as a fraction of the input's.
        repeats: blocks in the chain.
    """

    def __init__(
        self, in_channels: int, out_channels: int | None = None, expansion: float = 0.5, *, repeats: int = 1
    ) -> None:
        super().__init__()
        self.out_channels = same_channels("C2PSA", in_channels, out_channels)
        hidden = int(in_channels * expansion)
        self.cv1 = Conv(in_channels, 2 * hidden)
        self.cv2 = Conv(2 * hidden, self.out_channels)
        self.m = nn.Sequential(*(PSABlock(hidden, 0.5, heads_for(hidden)) for _ in range(repeats)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        passed, attended = self.cv1(x).chunk(2, 1)
        return self.cv2(join((passed, self.m(attended))))


class PSA(nn.Module):
    """C2PSA with a single block (YOLOv10, 2405.14458, section 3.2).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, as many as of the input.
        expansion: channels of each half, as a fraction of the input's.
    """

    def __init__(self, in_channels: int, out_channels: int | None = None, expansion: float = 0.5) -> None:
        super().__init__()
        self.out_channels = same_channels("PSA", in_channels, out_channels)
        hidden = int(in_channels * expansion)
        self.cv1 = Conv(in_channels, 2 * hidden)
        self.cv2 = Conv(2 * hidden, self.out_channels)
        self.attn = PositionAttention(hidden, heads_for(hidden), 0.5)
        self.ffn = nn.Sequential(Conv(hidden, 2 * hidden), Conv(2 * hidden, hidden, activation=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        passed, attended = self.cv1(x).chunk(2, 1)
        attended = attended + self.attn(attended)
        return self.cv2(join((passed, attended + self.ffn(attended))))


def same_channels(owner: str, in_channels: int, out_channels: int | None) -> int:
    """Check that a block keeps its number of channels.

    Raises:
        RegardError: it does not.
    """
    if out_channels not in (None, in_channels):
        what = f"{owner} has {in_channels} input channels and {out_channels} output channels"
        raise RegardError(what, expected="the same number")
    return in_channels
