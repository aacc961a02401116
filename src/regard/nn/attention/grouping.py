"""Attention inside groups of positions: all groups in one call of the fused kernel, padded keys masked.

Groups are cut along rows and along columns apart, and stand in the batch dimension with images beside the heads, so
that one mask of (groups, keys) serves all images and heads without being copied.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regard.nn.attention.dot_product import fused_attention


@dataclass(frozen=True)
class Cut:
    """How the n positions of an axis fall into g groups of m.

    Attributes:
        at: (g, m) position of each member; n or more for padding.
        group: (n,) which group a position is in.
        member: (n,) which member of that group it is.
    """

    at: Tensor
    group: Tensor
    member: Tensor

    @classmethod
    def blocks(cls, n: int, length: int, groups: int, device: torch.device) -> Cut:
        """Return ``groups`` stretches of ``length``, which together are at least n."""
        at = torch.arange(groups, device=device)[:, None] * length + torch.arange(length, device=device)
        positions = torch.arange(n, device=device)
        group = positions // length
        return cls(at, group, positions - group * length)  # not %: ONNX has none by a length that varies

    @classmethod
    def residues(cls, n: int, stride: int, device: torch.device) -> Cut:
        """Return ``stride`` groups, in each of which every ``stride``-th position."""
        steps = torch.arange(ceil_div(n, stride), device=device)
        at = torch.arange(stride, device=device)[:, None] + steps * stride
        positions = torch.arange(n, device=device)
        return cls(at, positions % stride, positions // stride)

    @classmethod
    def whole(cls, n: int, device: torch.device) -> Cut:
        """Return all positions as one group."""
        positions = torch.arange(n, device=device)
        return cls(positions[None], torch.zeros_like(positions), positions)

    @property
    def n(self) -> int:
        """Number of positions of the axis."""
        return self.group.shape[0]


def attend_in_groups(q: Tensor, k: Tensor, v: Tensor, rows: Cut, columns: Cut) -> Tensor:
    """Let each position attend to those that share its group of rows and its group of columns.

    (B, heads, H * W, d) each -> the same. In a group that is all padding, where a softmax would be 0 / 0, padding
    sees padding; nothing of it is used.
    """
    index, real = members(rows, columns)
    allowed = (real | ~real.any(-1, keepdim=True))[:, None, None]
    mixed = fused_attention(gather(q, index), gather(k, index), gather(v, index), allowed=allowed)
    return put_back(mixed, slots(rows, columns), q)


def members(rows: Cut, columns: Cut) -> tuple[Tensor, Tensor]:
    """Return the token of each member of each group, (groups, members), some token for padding; and which are real."""
    row, column = rows.at.clamp(max=rows.n - 1), columns.at.clamp(max=columns.n - 1)
    index = row[:, None, :, None] * columns.n + column[None, :, None, :]
    real = (rows.at < rows.n)[:, None, :, None] & (columns.at < columns.n)[None, :, None, :]
    return index.flatten(2).flatten(0, 1), real.flatten(2).flatten(0, 1)


def slots(rows: Cut, columns: Cut) -> Tensor:
    """Return where among groups times members each token stands: (H * W,)."""
    groups, (tall, wide) = columns.at.shape[0], (rows.at.shape[1], columns.at.shape[1])
    group = rows.group[:, None] * groups + columns.group
    return ((group * tall + rows.member[:, None]) * wide + columns.member).flatten()


def gather(tokens_bhnd: Tensor, index: Tensor) -> Tensor:
    """(B, heads, N, d), (groups, members) -> (groups, B * heads, members, d).

    All images and heads of a token are moved at once, which is what makes it fast, backward too.
    """
    batch, heads, n, d = tokens_bhnd.shape
    flat = tokens_bhnd.permute(2, 0, 1, 3).reshape(n, batch * heads * d)
    return flat.index_select(0, index.flatten()).view(*index.shape, batch * heads, d).transpose(1, 2)


def put_back(mixed: Tensor, at: Tensor, like: Tensor) -> Tensor:
    """(groups, B * heads, members, d), (N,) slots -> (B, heads, N, d), the shape of ``like``."""
    batch, heads, n, d = like.shape
    groups, _, length, _ = mixed.shape
    flat = mixed.transpose(1, 2).reshape(groups * length, batch * heads * d)
    return flat.index_select(0, at).view(n, batch, heads, d).permute(1, 2, 0, 3)


def ceil_div(n: int, by: int) -> int:
    """Return n / by, rounded up, for n >= 0."""
    return (n + by - 1) // by  # not -(-n // by): ONNX rounds the quotient of a negative size towards zero
