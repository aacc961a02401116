"""Multi-head attention with a depth-wise convolution of the values beside it, added before the output matrix.

y_i = W_o [b_i + (P * v)_i]: what the convolution adds depends on no query, so ``mix`` and the maps leave it out.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.multi_head import MultiHead, Size
from regard.nn.attention.tokens import merge_heads, to_map, to_tokens


class ValueConvolution(MultiHead):
    """Base of the kinds that have such a convolution; a subclass says who sees whom.

    Args:
        in_channels: channels of the input and the output; a multiple of ``heads``.
        heads: each works on ``in_channels / heads`` channels.
        kernel: odd side of the convolution; 0 for none.
        positions: kind of position, see ``POSITIONS``.

    Raises:
        RegardError: ``kernel`` is neither odd nor 0, or as for every ``MultiHead``.
    """

    def __init__(self, in_channels: int, heads: int, kernel: int, positions: str) -> None:
        if kernel < 0 or (kernel and kernel % 2 == 0):
            what = f"{type(self).__name__}: kernel {kernel} is not odd"
            near = f"the nearest is {max(kernel + 1, 0)}"
            raise RegardError(what, expected="an odd number, or 0", hint=near)
        super().__init__(in_channels, heads, positions)
        self.kernel = kernel
        self.skip = (
            nn.Conv2d(in_channels, in_channels, kernel, padding=kernel // 2, groups=in_channels, bias=False)
            if kernel
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        size = (x.shape[2], x.shape[3])
        q, k, v = self.project(x)
        return self._join(self.mix(q, k, v, size), v, size)

    def unmixed(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W): all but the mixing, values passed on as they are."""
        _, _, v = self.project(x)
        return self._join(v, v, (x.shape[2], x.shape[3]))

    def _join(self, mixed: Tensor, v: Tensor, size: Size) -> Tensor:
        """Add the convolution of the values to the mixed ones, and join heads: (B, heads, N, d) -> (B, C, H, W)."""
        joined = merge_heads(mixed)
        if self.skip is not None:
            joined = joined + to_tokens(self.skip(to_map(merge_heads(v), size)))
        return to_map(self.out(joined), size)
