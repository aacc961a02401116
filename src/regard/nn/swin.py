"""C3 over blocks of the Swin Transformer (Liu et al., 2103.14030, equation 3), which model files call C3STR.

z = x + W-MSA(LN(x));  y = z + W_2 gelu(W_1 LN(z)), in windows that every second block shifts by half a window, with the
paper's learned bias by relative position, 32 channels per head and four hidden units per channel.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import to_map, to_tokens
from regard.nn.attention.window import ShiftedWindowAttention, WindowAttention
from regard.nn.blocks import C3

WINDOW, HEAD_CHANNELS, HIDDEN = 7, 32, 4


class SwinBlock(nn.Module):
    """Window attention and a feed-forward network, each with a layer norm before and a sum behind it.

    Args:
        channels: channels of the input and the output.
        shifted: whether the windows are shifted by half a window.
    """

    def __init__(self, channels: int, shifted: bool = False) -> None:
        super().__init__()
        heads = channels // HEAD_CHANNELS if channels % HEAD_CHANNELS == 0 else 1
        kind = ShiftedWindowAttention if shifted else WindowAttention
        self.norm1 = nn.LayerNorm(channels)
        self.attn = kind(channels, heads, WINDOW, "relative")
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, HIDDEN * channels), nn.GELU(), nn.Linear(HIDDEN * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        size = (x.shape[2], x.shape[3])
        z = to_tokens(x + self.attn(to_map(self.norm1(to_tokens(x)), size)))
        return to_map(z + self.mlp(self.norm2(z)), size)


class C3STR(C3):
    """C3 whose first half passes Swin blocks, of which every second one shifts its windows."""

    def stack(self, channels: int, repeats: int, shortcut: bool, groups: int) -> nn.Module:  # noqa: ARG002
        """Build Swin blocks; they always add their input and have no groups."""
        return nn.Sequential(*(SwinBlock(channels, i % 2 == 1) for i in range(repeats)))
