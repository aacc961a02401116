"""Images as sets of vectors: the positions, or the p x p patches, of a map as tokens, and back.

Tokens stand in reading order: token ``row * W + column`` is the position (row, column).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from regard.errors import RegardError


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H * W, C); a view."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, H * W, C) -> (B, C, H, W), the inverse of ``to_tokens``."""
    batch, _, channels = tokens.shape
    return tokens.transpose(1, 2).reshape(batch, channels, *size)


def to_patches(x: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) -> (B, H / p * W / p, C * p * p): each p x p patch as one vector (2010.11929, equation 1).

    A vector holds the patch channel by channel, each in reading order, as the weights of a convolution do, so that a
    linear layer on patches is a convolution of stride p.

    Raises:
        RegardError: ``patch`` does not divide H and W.
    """
    height, width = x.shape[2:]
    if patch < 1 or height % patch or width % patch:
        raise RegardError(f"patches of {patch} x {patch} do not tile a map of {height} x {width}")
    return F.unfold(x, patch, stride=patch).transpose(1, 2)


def from_patches(patches: Tensor, size: tuple[int, int], patch: int) -> Tensor:
    """(B, H / p * W / p, C * p * p) -> (B, C, H, W), the inverse of ``to_patches``; ``size`` is (H, W)."""
    return F.fold(patches.transpose(1, 2), size, patch, stride=patch)


def split_heads(tokens_bnc: Tensor, heads: int) -> Tensor:
    """(B, N, C) -> (B, heads, N, C / heads); a view whose last dimension stays contiguous, as fused kernels want."""
    batch, tokens, channels = tokens_bnc.shape
    return tokens_bnc.view(batch, tokens, heads, channels // heads).transpose(1, 2)


def merge_heads(tokens_bhnd: Tensor) -> Tensor:
    """(B, heads, N, d) -> (B, N, heads * d), the inverse of ``split_heads``."""
    return tokens_bhnd.transpose(1, 2).flatten(2)
