"""Style-based recalibration (Lee et al., SRM, 1903.10829, equations 1 to 6).

t_c = [mu_c, sigma_c], mean and standard deviation over positions;  z_c = w_c . t_c, two separate weights for each
channel;  y_c = x_c sigmoid(BN(z))_c.

Deviations: 1e-5 is added to the variance, so that a map of one position has a gradient. The weights w start at random,
where the authors' code has 0, by which all channels would weigh the same. A batch norm over one image has no
variance: in training such a batch is normalised by the running statistics and leaves them unchanged, where the
authors' code raises an error. In training, images of a larger batch depend on each other. Half-precision input is
weighed in float32, since sums of squares overflow.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.attention.core import Card, Reweighting
from regard.nn.precision import at_least_float32

EPSILON = 1e-5
"""Value added to variances."""


class SRM(Reweighting):
    """One weight in 0..1 per channel, from the mean and the spread of that channel alone.

    Args:
        in_channels: channels of the input and the output.
    """

    card = Card(
        family="channel",
        paper="1903.10829",
        equation="y_c = x_c sigmoid(BN(w_c . [mean(x_c), std(x_c)]))",
        parameters="4 * C",
        flops="5 * C * N + 5 * C",
        peers=("its definition, by loops",),
        when="When the spread of a channel should count as well as its mean, without a layer across channels.",
    )

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.cfc = nn.Parameter(torch.empty(in_channels, 2))
        nn.init.uniform_(self.cfc, -(2**-0.5), 2**-0.5)  # as a layer of two inputs starts
        self.bn = nn.BatchNorm1d(in_channels)

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C)."""
        wide = at_least_float32(x)
        mean = wide.mean((2, 3))
        deviation = ((wide - mean[:, :, None, None]).square().mean((2, 3)) + EPSILON).sqrt()
        of_mean, of_deviation = self.cfc.unbind(1)  # a product of both at once, stacked, goes wrong in OpenVINO
        return self._normalise(of_mean * mean.to(x.dtype) + of_deviation * deviation.to(x.dtype)).sigmoid()

    def _normalise(self, z: Tensor) -> Tensor:
        """(B, C) -> (B, C)."""
        if self.training and z.shape[0] == 1:
            bn = self.bn
            return F.batch_norm(z, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps)
        normed: Tensor = self.bn(z)
        return normed
