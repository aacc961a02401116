"""Context anchor attention (Cai et al., PKINet, 2403.06258, section 3.3, equations 5 to 7): long strips, cheaply.

y = x sigmoid(W_2 s_v(s_h(W_1 mean_7x7(x)))): s_h and s_v are depth-wise convolutions of 1 x k and k x 1, which together
reach as far as one of k x k. In the paper k = 11 + 2 l grows with the depth l of the block.

Deviations: the authors' code has a batch norm and a SiLU behind both 1 x 1 convolutions; the equations have none. The
convolutions therefore start so that each keeps the variance of its input; otherwise all weights would start near 1 / 2.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import Card, Reweighting, check_odd


class CAA(Reweighting):
    """One weight in 0..1 per value, from the cross of strips around its position.

    Args:
        in_channels: channels of the input and the output.
        kernel_size: k, length of the strips, odd.

    Raises:
        RegardError: ``kernel_size`` is not odd and positive.
    """

    card = Card(
        family="channel and spatial",
        paper="2403.06258",
        equation="y = x sigmoid(W_2 conv_kx1(conv_1xk(W_1 mean_7x7(x))))",
        parameters="2 * C**2 + 4 * C + 2 * kernel_size * C",
        flops="C * N * (4 * C + 4 * kernel_size + 3)",
        peers=("its definition, by loops",),
        when="When the weight of a value should depend on a long horizontal and a long vertical strip around its"
        " position.",
    )

    def __init__(self, in_channels: int, kernel_size: int = 11) -> None:
        super().__init__(in_channels)
        check_odd("CAA", "kernel_size", kernel_size)
        self.kernel_size = k = kernel_size
        self.layers = nn.Sequential(
            nn.AvgPool2d(7, 1, 3),
            nn.Conv2d(in_channels, in_channels, 1),
            nn.Conv2d(in_channels, in_channels, (1, k), padding=(0, k // 2), groups=in_channels),
            nn.Conv2d(in_channels, in_channels, (k, 1), padding=(k // 2, 0), groups=in_channels),
            nn.Conv2d(in_channels, in_channels, 1),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        weights: Tensor = self.layers(x)
        return weights.sigmoid()
