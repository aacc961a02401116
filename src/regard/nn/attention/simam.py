"""SimAM, attention without parameters (Yang et al., PMLR 139:11863-11874, 2021, equations 5 and 6).

Each value is weighed by how far it stands out of its channel: with mu the mean over the M = H W positions,
d = (x - mu)^2 and v = sum d / n, where n = M - 1,
    1 / e = d / (4 (v + lambda)) + 1 / 2;   y = x sigmoid(1 / e).

As in the authors' code, n = M - 1 in the variance. Deviation: n = 1 for a map of one position, which stands out of
nothing: its weight is sigmoid(1 / 2), where 0 / 0 would be not a number. Half-precision input is weighed in float32,
since sums of squares overflow.
"""

from __future__ import annotations

from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.core import Card, Reweighting, least
from regard.nn.precision import at_least_float32


class SimAM(Reweighting):
    """One weight in 0.62..1 for each value; no learned parameters.

    Args:
        in_channels: channels of the input and the output.
        regularisation: lambda, added to the variance; positive.

    Raises:
        RegardError: ``regularisation`` is not positive.
    """

    card = Card(
        family="channel and spatial",
        paper="PMLR 139:11863",
        equation="y = x sigmoid((x - mu)^2 / (4 (v + lambda)) + 1 / 2)",
        parameters="0",
        flops="8 * C * N + 3 * C",
        peers=("its definition, by loops",),
        when="When no parameters may be added: a value is weighted by how far it lies from the mean of its channel.",
    )

    def __init__(self, in_channels: int, regularisation: float = 1e-4) -> None:
        super().__init__(in_channels)
        if regularisation <= 0:
            raise RegardError(f"SimAM: regularisation {regularisation} is not positive", expected="such as 1e-4")
        self.regularisation = regularisation

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), in float32 at least."""
        x = at_least_float32(x)
        squares = (x - x.mean((2, 3), keepdim=True)).square()
        positions = x.shape[2] * x.shape[3]
        others = positions - least(positions - 1, 1)  # n
        variance = squares.sum((2, 3), keepdim=True) / others
        return (squares / (4 * (variance + self.regularisation)) + 0.5).sigmoid()
