"""Gather-excite (Hu et al., 1810.12348, section 3): each value is weighed by what surrounds it, at a chosen extent.

y = x sigmoid(up(E(G(x)))): G gathers over neighbourhoods of extent e, by the mean of 2 e - 1 positions at every e-th
(GE-theta-minus) or by log2(e) depth-wise 3 x 3 convolutions of stride 2 (GE-theta); E, if wanted, is an MLP over the
channels as in SE (GE-theta-plus); ``up`` repeats the nearest value. With extent 0 everything is gathered: SE.

Deviation: the form with an extent of the whole map and learned gathering has a kernel of the map's size and thus fits
one size alone; it is left out.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.core import Card, Reweighting, check_at_least
from regard.nn.attention.norm import MapNorm


class GatherExcite(Reweighting):
    """One weight in 0..1 per value, from the neighbourhood of its position in its channel.

    Args:
        in_channels: channels of the input and the output.
        extent: e, positions from one neighbourhood to the next, a power of two; 0 for the whole map.
        learned: whether neighbourhoods are gathered by convolutions instead of means; not for the whole map.
        reduction: channels per hidden channel of the MLP over channels; 0 for none.

    Raises:
        RegardError: ``extent`` is not a power of two, or 0 with ``learned``; ``reduction`` is negative.
    """

    card = Card(
        family="channel and spatial",
        paper="1810.12348",
        equation="y = x sigmoid(up(conv(...conv(x)))), depth-wise convolutions of stride 2",
        parameters="22 * C",
        flops="C * (2 * N + 19 * ceiling(H / 2) * ceiling(W / 2) + 18 * ceiling(H / 4) * ceiling(W / 4))",
        peers=("timm.layers.GatherExcite, without layers", "its definition, by loops"),
        when="When the weight of a value should depend on a neighbourhood of chosen extent instead of on the whole"
        " image.",
    )

    def __init__(self, in_channels: int, extent: int = 4, learned: bool = True, reduction: int = 0) -> None:
        super().__init__(in_channels)
        check_at_least("GatherExcite", "reduction", reduction, 0)
        _check_extent(extent, learned)
        self.extent = extent
        steps = extent.bit_length() - 1 if learned else 0
        self.gathering = nn.Sequential()
        for i in range(steps):
            conv = nn.Conv2d(in_channels, in_channels, 3, stride=2, padding=1, groups=in_channels, bias=False)
            self.gathering.extend([conv, MapNorm(in_channels), *([nn.ReLU()] if i < steps - 1 else [])])
        hidden = max(1, in_channels // reduction) if reduction else 0
        layers = [nn.Conv2d(in_channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, in_channels, 1)] if hidden else []
        self.excitation = nn.Sequential(*layers)

    def gather(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, about H / extent, about W / extent)."""
        if len(self.gathering):
            gathered: Tensor = self.gathering(x)
            return gathered
        if not self.extent:
            return x.mean((2, 3), keepdim=True)
        kernel = 2 * self.extent - 1
        return F.avg_pool2d(x, kernel, self.extent, kernel // 2, count_include_pad=False)

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        excited: Tensor = self.excitation(self.gather(x))
        if not self.extent:
            return excited.sigmoid().expand(x.shape)
        return F.interpolate(excited, size=(x.shape[2], x.shape[3])).sigmoid()


def _check_extent(extent: int, learned: bool) -> None:
    if extent == 0 and learned:
        what = "GatherExcite: extent 0, the whole map, has a learned kernel for one size of map alone"
        raise RegardError(
            what, expected="an extent of 2 or more", hint="learned: false takes the mean of the whole map"
        )
    if extent < 0 or extent & (extent - 1) or extent == 1:
        near = 1 << max(1, extent.bit_length() - 1)
        raise RegardError(f"GatherExcite: extent {extent}", expected="a power of two", hint=f"the nearest is {near}")
