"""Normalization-based attention (Liu et al., NAM, 2111.12419, equations 1 to 3): the scales of a batch norm as weights.

y_c = x_c sigmoid(w_c BN(x)_c),  w_c = |gamma_c| / sum_k |gamma_k|: a channel that the norm scales up varies much, and
is taken to matter. The norm's scales are all that is learned; the paper adds their absolute values to the loss.

Deviations: the paper's spatial form has one scale for each position and thus fits maps of one size alone; it is left
out, as in the authors' code. The penalty on the scales is left to the recipe's weight decay.
"""

from __future__ import annotations

from torch import Tensor

from regard.nn.attention.core import Card, Reweighting
from regard.nn.attention.norm import MapNorm


class NAM(Reweighting):
    """One weight in 0..1 per value, from its normalised size and the share of its channel in the norm's scales.

    Args:
        in_channels: channels of the input and the output.
    """

    card = Card(
        family="channel",
        paper="2111.12419",
        equation="y_c = x_c sigmoid(BN(x)_c |gamma_c| / sum_k |gamma_k|)",
        parameters="2 * C",
        flops="3 * C * N + 2 * C",
        peers=("its definition, by loops",),
        when="When the scales of a batch norm should serve as the weights of channels, with two parameters per"
        " channel and no further layer.",
    )

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.norm = MapNorm(in_channels)

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        scales = self.norm.weight.abs()
        shares = scales / scales.sum().clamp(min=1e-12)
        normed: Tensor = self.norm(x)
        return (normed * shares[:, None, None]).sigmoid()
