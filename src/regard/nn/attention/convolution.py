"""Convolution as attention whose heads each attend to one neighbour (Cordonnier et al., 1911.03584, theorem 1).

Head h looks from position q at position k with the weight (lemma 2 and section 3.1, the quadratic encoding)

    a_h(q, k) = softmax_k(-alpha_h |(k - q) - centre_h|^2),

a Gaussian around the place ``centre_h`` away from the query, independent of the map. The heads' outputs are joined by
the output matrix: y_q = W [sum_k a_1(q, k) x_k, ..., sum_k a_K(q, k) x_k] + b. Let alpha grow and head h fetches just
the neighbour at ``centre_h``. With one head for each place of a k x k kernel, that is the convolution, and W is its
kernel, one block of columns for each place.

How exact: the next best neighbour gets exp(-alpha). From alpha = 746 on that is zero in float64 (from 104 on in
float32), so that with alpha = 1000 a head's weights are exactly 0 and 1, and only the order of sums differs.

The border: a convolution pads with zeros, so keys stand not on the map alone but also on a ring of zero vectors
round it, as wide as the farthest centre at the start. A head whose neighbour lies outside the map attends to the ring
and gets zero. (Without the ring it would attend to the nearest position of the map: "replicate" padding.)

Cost: a Gaussian of a 2-D offset is a product of two of one axis, and so is its softmax over a rectangle. Rows and
columns are mixed one after the other, exactly, in N (H + W) for each head, where pairs would take N^2.

Deviations: the matrices of values are merged into the output matrix, as in the theorem's proof. Centres begin on the
grid of the kernel, where the paper's experiments draw them from a normal distribution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.core import Attention, Card, Size, check_at_least, check_odd, check_query, mixing
from regard.types import AttentionMap

EXACT = 1000.0
"""An alpha at which every weight is exactly 0 or 1 in float64 and below, as centres and positions are whole."""


class ConvolutionAsAttention(Attention):
    """A head for each place of a kernel, looking there by a Gaussian whose place and sharpness are learned.

    Args:
        in_channels: channels of the input.
        kernel: side of the kernel, odd; there are ``kernel`` x ``kernel`` heads.
        alpha: sharpness at the start; at 1 a head spreads over its neighbours too, and so can learn to move.
        out_channels: channels of the output; ``in_channels`` if None.
        dilation: distance between neighbouring centres at the start.

    Raises:
        RegardError: ``kernel`` is even or not positive, or ``dilation`` is not positive.
    """

    card = Card(
        family="convolution",
        paper="1911.03584",
        equation="y_q = W [sum_k softmax_k(-alpha_h |k - q - centre_h|^2) x_k for h in heads] + b",
        parameters="num_heads * C * out_channels + out_channels + 3 * num_heads",
        flops="2 * num_heads * C * N * (H + W + out_channels)",
        peers=("torch.nn.Conv2d",),
        when="When heads should be free to move and widen the places of a kernel; a plain convolution computes the"
        " fixed form for far less.",
        linear=False,
    )

    def __init__(
        self,
        in_channels: int,
        kernel: int = 3,
        alpha: float = 1.0,
        out_channels: int | None = None,
        dilation: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels)
        check_odd("ConvolutionAsAttention", "kernel", kernel)
        check_at_least("ConvolutionAsAttention", "dilation", dilation, 1)
        self.num_heads = kernel**2
        self.margin = dilation * (kernel // 2)
        steps = torch.arange(-self.margin, self.margin + 1, dilation, dtype=torch.float32)
        self.centre = nn.Parameter(torch.cartesian_prod(steps, steps).reshape(self.num_heads, 2))  # (row, column)
        self.alpha = nn.Parameter(torch.full((self.num_heads,), alpha))
        self.out = nn.Linear(self.num_heads * in_channels, self.out_channels)

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, alpha: float = EXACT) -> ConvolutionAsAttention:
        """Attention that gives what ``conv`` gives; groups become blocks of zeros in the output matrix.

        Args:
            conv: k x k with k odd, stride 1, and zero padding that keeps the size.
            alpha: sharpness of every head. At the default its place and sharpness get no gradient: the weights have
                nowhere to go but from 0 to 0 and from 1 to 1. At about 3 they can be learned, and it is only nearly so.

        Raises:
            RegardError: ``conv`` is none of these.
        """
        kernel, dilation = _check_conv(conv)
        attention = cls(conv.in_channels, kernel, alpha, conv.out_channels, dilation)
        attention.to(device=conv.weight.device, dtype=conv.weight.dtype)
        # A group of outputs reads its own share of the input; all other channels get a weight of zero.
        groups = conv.weight.detach().flatten(2).transpose(1, 2).chunk(conv.groups)  # (out / groups, heads, share)
        share, total = conv.in_channels // conv.groups, conv.in_channels
        weight = torch.cat([F.pad(w, (share * g, total - share * (g + 1))) for g, w in enumerate(groups)])
        with torch.no_grad():
            attention.out.weight.copy_(weight.flatten(1))
            attention.out.bias.zero_() if conv.bias is None else attention.out.bias.copy_(conv.bias)
        return attention

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        own = x.permute(0, 2, 3, 1)[..., None, :].expand(-1, -1, -1, self.num_heads, -1)
        fetched = mixing(self.fetch, x, without=own)
        y: Tensor = self.out(fetched.flatten(3))  # (B, H, W, out)
        return y.permute(0, 3, 1, 2)

    def fetch(self, x: Tensor) -> Tensor:
        """What each head sees from each query: (B, C, H, W) -> (B, H, W, heads, C)."""
        rows, columns = self.weights((x.shape[2], x.shape[3]))
        # The ring's vectors are zero and need not be multiplied; it has had its share of the weights.
        fetched = torch.einsum("hyi,bciw->bhcyw", rows.to(x.dtype), x)
        return torch.einsum("hxj,bhcyj->byxhc", columns.to(x.dtype), fetched)

    def weights(self, size: Size) -> tuple[Tensor, Tensor]:
        """What a query's row and column give to each row and column of the map: (heads, H, H), (heads, W, W).

        Their products are the weights of all pairs. What is missing from a sum of 1 went to the ring.
        """
        height, width = size
        return self._gaussian(height, 0), self._gaussian(width, 1)

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Where each head looks from one query: (B, heads, 1, H, W); the same for every image."""
        size = (x.shape[2], x.shape[3])
        row, column = check_query(query, size)
        rows, columns = self.weights(size)
        weights = rows[:, row, :, None] * columns[:, column, None, :]
        return AttentionMap("rows", weights[None, :, None].expand(x.shape[0], -1, -1, -1, -1), ((row, column),))

    def _gaussian(self, n: int, axis: int) -> Tensor:
        """Weights along an axis of ``n`` positions and the ring on both sides, less the ring's."""
        dtype = torch.float64 if self.centre.dtype == torch.float64 else torch.float32  # halves do not count so far
        centre, alpha = self.centre[:, axis].to(dtype), self.alpha.to(dtype)
        keys = torch.arange(-self.margin, n + self.margin, device=centre.device)
        offsets = keys - torch.arange(n, device=centre.device)[:, None]
        distances = (offsets - centre[:, None, None]).square()
        return (-alpha[:, None, None] * distances).softmax(-1)[:, :, self.margin : self.margin + n]


def _check_conv(conv: nn.Conv2d) -> tuple[int, int]:
    """Side and dilation of the kernel, of a convolution that attention can be."""
    kernel, dilation = conv.kernel_size[0], conv.dilation[0]
    fits = conv.padding == "same" or conv.padding == (dilation * (kernel // 2),) * 2
    for wrong, what, expected in (
        (type(conv) is not nn.Conv2d, f"{type(conv).__name__}", "nn.Conv2d"),
        (conv.kernel_size != (kernel, kernel), f"kernel_size={conv.kernel_size}", "a square kernel"),
        (kernel % 2 == 0, f"kernel_size={conv.kernel_size}", "an odd kernel, which has a centre"),
        (conv.stride != (1, 1), f"stride={conv.stride}", "stride 1: a query for every position"),
        (conv.dilation != (dilation, dilation), f"dilation={conv.dilation}", "the same dilation along both axes"),
        (conv.padding_mode != "zeros", f"padding_mode={conv.padding_mode!r}", "padding_mode='zeros'"),
        (not fits, f"padding={conv.padding}", f"padding={dilation * (kernel // 2)}, which keeps the size"),
    ):
        if wrong:
            raise RegardError(f"not a convolution that attention can be: {what}", expected=expected)
    return kernel, dilation
