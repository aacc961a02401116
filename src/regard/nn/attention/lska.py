"""Large separable kernel attention (Lau et al., LSKA, 2309.01439, section 3).

The large kernel of k x k is taken apart into strips, each a depth-wise convolution:
u = conv_(2d-1)x1(conv_1x(2d-1)(x)),  z = conv of dilation d, of floor(k / d) x 1 after 1 x floor(k / d) (u);
y = x (W z + b), one weight per value, of any sign.

Only the attention: the block of the paper has projections and a GELU around it and adds its input. Deviation: none.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.core import Card, Reweighting, check_at_least


class LSKA(Reweighting):
    """One weight per value from the positions around it, by strips of a kernel of ``kernel_size`` x ``kernel_size``.

    Args:
        in_channels: channels of the input and the output.
        kernel_size: k; the paper has 7 and 11 with dilation 2, 23, 35, 41 and 53 with 3.
        dilation: d; 3 from 23 on and else 2, as in the paper, if None.

    Raises:
        RegardError: ``dilation`` is not positive, or ``kernel_size / dilation``, rounded down, is not odd.
    """

    card = Card(
        family="channel and spatial",
        paper="2309.01439",
        equation="y = x (W conv_kx1(conv_1xk(x)) + b), a strip as one of 2 d - 1 and one of k / d in steps of d",
        parameters="C**2 + C * (5 + 2 * (near + far))",
        flops="N * C * (2 * C + 4 * (near + far) + 1)",
        peers=("one large kernel, the product of its strips",),
        when="When the weight of a value should come from a large square around it, at the cost of strips instead of"
        " the full kernel.",
    )

    def __init__(self, in_channels: int, kernel_size: int = 23, dilation: int | None = None) -> None:
        super().__init__(in_channels)
        check_at_least("LSKA", "kernel_size", kernel_size, 1)
        dilation = (2 if kernel_size < 23 else 3) if dilation is None else dilation
        check_at_least("LSKA", "dilation", dilation, 1)
        self.near, self.far = 2 * dilation - 1, kernel_size // dilation
        if self.far % 2 == 0:
            what = f"LSKA: kernel_size {kernel_size} has {self.far} steps of dilation {dilation}"
            hint = f"the nearest is {(self.far + 1) * dilation}"
            raise RegardError(what, expected="an odd number of steps, such as 7, 11, 23, 35, 41 or 53", hint=hint)
        self.strips = nn.Sequential(
            _strip(in_channels, (1, self.near), 1),
            _strip(in_channels, (self.near, 1), 1),
            _strip(in_channels, (1, self.far), dilation),
            _strip(in_channels, (self.far, 1), dilation),
        )
        self.out = nn.Conv2d(in_channels, in_channels, 1)

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        weights: Tensor = self.out(self.strips(x))
        return weights


def _strip(channels: int, size: tuple[int, int], dilation: int) -> nn.Conv2d:
    """Depth-wise convolution that keeps the size of the map."""
    padding = (size[0] // 2 * dilation, size[1] // 2 * dilation)
    return nn.Conv2d(channels, channels, size, padding=padding, dilation=dilation, groups=channels)
