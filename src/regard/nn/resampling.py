"""Resampling of feature maps: space to depth (2208.03641) and content-aware reassembly, CARAFE (1905.02188)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.conv import Conv
from regard.nn.join import join


class SpaceToDepth(nn.Module):
    """Phases of the pixels stacked on channels, with no pixel lost (Sunkara and Luo, 2208.03641, equation 1).

    Args:
        in_channels: channels of the input.
        scale: factor of the size, whose square is that of the channels.

    Raises:
        RegardError: ``scale`` is not positive.
    """

    def __init__(self, in_channels: int, scale: int = 2) -> None:
        super().__init__()
        if scale < 1:
            raise RegardError(f"SpaceToDepth: scale is {scale}", expected="a positive whole number")
        self.scale, self.out_channels = scale, in_channels * scale**2

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C scale^2, H / scale, W / scale); phases by row, then by column, as in `Focus`."""
        s = self.scale
        return join([x[..., row::s, column::s] for column in range(s) for row in range(s)])


class SPDConv(nn.Module):
    """Space to depth, then a convolution of stride 1: the paper's block in place of a strided convolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel, odd.
        scale: factor of the size.
    """

    def __init__(self, in_channels: int, out_channels: int | None = None, kernel_size: int = 3, scale: int = 2) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        self.spd = SpaceToDepth(in_channels, scale)
        self.conv = Conv(self.spd.out_channels, self.out_channels, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / scale, W / scale)."""
        return self.conv(self.spd(x))


class CARAFE(nn.Module):
    """Upsampling by kernels that are predicted for each position (Wang et al., 1905.02188, equations 1 to 3).

    Each position of the output is a weighted mean of the k x k input positions around its own; the weights are a
    softmax of what a convolution of ``kernel_encoder`` on ``hidden`` channels predicts.

    Args:
        in_channels: channels of the input and the output.
        kernel_encoder: side of the kernel that predicts the weights, odd.
        kernel_up: side k of the neighbourhood, odd.
        hidden: channels after the compression.
        scale: factor of the size.

    Raises:
        RegardError: a kernel is even, or a number is not positive.
    """

    def __init__(
        self, in_channels: int, kernel_encoder: int = 3, kernel_up: int = 5, hidden: int = 64, scale: int = 2
    ) -> None:
        super().__init__()
        for name, value in (("kernel_encoder", kernel_encoder), ("kernel_up", kernel_up)):
            if value < 1 or value % 2 == 0:
                raise RegardError(f"CARAFE: {name} is {value}", expected="an odd number")
        if min(hidden, scale) < 1:
            raise RegardError(f"CARAFE: hidden {hidden}, scale {scale}", expected="positive whole numbers")
        self.out_channels, self.kernel_up, self.scale = in_channels, kernel_up, scale
        self.compress = nn.Conv2d(in_channels, hidden, 1)
        self.encode = nn.Conv2d(hidden, (scale * kernel_up) ** 2, kernel_encoder, padding=kernel_encoder // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, scale H, scale W)."""
        batch, channels, height, width = x.shape
        k, s = self.kernel_up, self.scale
        scores = self.encode(self.compress(x)).view(batch, k * k, s * s, height, width)
        around = F.unfold(x, k, padding=k // 2).view(batch, channels, k * k, height, width)
        y = torch.einsum("bckhw,bkshw->bcshw", around, scores.softmax(1))
        return F.pixel_shuffle(y.reshape(batch, channels * s * s, height, width), s)
