"""The Swin Transformer (Liu et al., 2103.14030): blocks, stages, patch embedding and merging, and C3 over its blocks.

A block is z = x + W-MSA(LN(x));  y = z + W_2 gelu(W_1 LN(z)) (equation 3), in windows that every second block shifts by
half a window, with the paper's learned bias by relative position, 32 channels per head unless stated, and four hidden
units per channel. Public model files call a stage SwinStage, and C3 over blocks C3STR.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.core import to_map, to_tokens
from regard.nn.attention.window import ShiftedWindowAttention, WindowAttention
from regard.nn.blocks import C3
from regard.nn.join import join
from regard.nn.renamed import OldNames

WINDOW, HEAD_CHANNELS, HIDDEN = 7, 32, 4


class SwinBlock(nn.Module):
    """Window attention and a feed-forward network, each with a layer norm before and a sum behind it.

    Args:
        channels: channels of the input and the output.
        shifted: whether the windows are shifted by half a window.
        num_heads: heads of the attention; 0 for 32 channels in each.
        window: side of a window.
    """

    def __init__(self, channels: int, shifted: bool = False, num_heads: int = 0, window: int = WINDOW) -> None:
        super().__init__()
        heads = num_heads or (channels // HEAD_CHANNELS if channels % HEAD_CHANNELS == 0 else 1)
        kind = ShiftedWindowAttention if shifted else WindowAttention
        self.norm1 = nn.LayerNorm(channels)
        self.attn = kind(channels, heads, window, "relative")
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


class PatchEmbed(nn.Module):
    """Patches that do not overlap, each projected and normalised (section 3.1): the stem.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        patch: side of a patch in pixels.
    """

    def __init__(self, in_channels: int, out_channels: int | None = None, patch: int = 4) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        self.proj = nn.Conv2d(in_channels, self.out_channels, patch, patch)
        self.norm = nn.LayerNorm(self.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / patch, W / patch)."""
        y = self.proj(x)
        return to_map(self.norm(to_tokens(y)), (y.shape[2], y.shape[3]))


class PatchMerging(nn.Module):
    """The four neighbours of 2 x 2 positions stacked on the channels, normalised and projected (section 3.1).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; by default twice the input's, as in the paper.
    """

    def __init__(self, in_channels: int, out_channels: int | None = None) -> None:
        super().__init__()
        self.out_channels = out_channels or 2 * in_channels
        self.norm = nn.LayerNorm(4 * in_channels)
        self.reduction = nn.Linear(4 * in_channels, self.out_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / 2, W / 2); H and W even."""
        y = join([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]])
        return to_map(self.reduction(self.norm(to_tokens(y))), (y.shape[2], y.shape[3]))


class SwinStage(OldNames, nn.Module):
    """Blocks of which every second one shifts its windows.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, as many as of the input.
        depth: number of blocks.
        num_heads: heads of each attention; 0 for 32 channels in each.
        window: side of a window.

    Raises:
        RegardError: the number of channels changes, there is no block, or the heads do not divide the channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        depth: int = 2,
        num_heads: int = 0,
        window: int = WINDOW,
    ) -> None:
        super().__init__()
        if out_channels not in (None, in_channels) or depth < 1:
            what = f"SwinStage: {in_channels} to {out_channels or in_channels} channels, depth {depth}"
            raise RegardError(what, expected="as many channels as the input has, and a positive depth")
        self.out_channels = in_channels
        self.blocks = nn.Sequential(*(SwinBlock(in_channels, i % 2 == 1, num_heads, window) for i in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        y: Tensor = self.blocks(x)
        return y
