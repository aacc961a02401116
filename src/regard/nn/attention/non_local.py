"""Non-local block (Wang et al., 1711.07971, equations 1, 3, 4 and 6).

y_i = 1 / C(x) sum_j f(x_i, x_j) g(x_j);  z_i = W_z y_i + x_i, with theta, phi and g of C / 2 channels each;
"embedded_gaussian": f = exp(theta_i . phi_j), C(x) = sum_j f: softmax attention without the factor 1 / sqrt(d);
"dot_product": f = theta_i . phi_j, C(x) = N: linear cost, since sum_j phi_j g_j is the same for every i.

The block contains a residual connection. Deviations: W_z starts at random unless ``zero_start`` is set; the
paper starts it (or the batch norm behind it, of which there is none here) at zero, so that the block begins as the
identity. Behind the closed gate of an insertion such a block could not learn: neither the gate nor W_z would get any
gradient. There is no subsampling of the keys; see the pooled kinds. Sums over N run in float32 at least.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.attention.core import (
    Attention,
    Card,
    Size,
    attention_weights,
    check_at_least,
    check_choice,
    check_query,
    mixing,
    no_autocast,
    to_map,
    to_tokens,
)
from regard.types import AttentionMap

FORMS = ("embedded_gaussian", "dot_product")


class NonLocal(Attention):
    """Every position attends to every other in a space of fewer channels; the input is added.

    Args:
        in_channels: channels of the input and the output.
        reduction: channels of the input per channel of theta, phi and g.
        form: "embedded_gaussian" or "dot_product".
        zero_start: whether W_z starts at zero, as in the paper; for use without a gate.

    Raises:
        RegardError: ``reduction`` is not positive, or ``form`` is unknown.
    """

    card = Card(
        family="global",
        paper="1711.07971",
        equation="z_i = x_i + W_z sum_j softmax_j(theta_i . phi_j) g_j",
        parameters="4 * C * inner + 3 * inner + C",
        flops="8 * N * C * inner + 4 * N**2 * inner + C * N",
        peers=("timm.layers.NonLocalAttn",),
        when="When global attention should have one head with half of the channels and add its input; it takes half"
        " of the FLOPs of multi-head attention and grows with N^2 as well.",
        linear=False,
    )

    def __init__(
        self, in_channels: int, reduction: int = 2, form: str = "embedded_gaussian", zero_start: bool = False
    ) -> None:
        super().__init__(in_channels)
        check_at_least("NonLocal", "reduction", reduction, 1)
        check_choice("NonLocal", "form", form, FORMS)
        self.inner = max(1, in_channels // reduction)
        self.form = form
        self.theta = nn.Linear(in_channels, self.inner)
        self.phi = nn.Linear(in_channels, self.inner)
        self.g = nn.Linear(in_channels, self.inner)
        self.w_z = nn.Linear(self.inner, in_channels)
        if zero_start:
            nn.init.zeros_(self.w_z.weight)
            nn.init.zeros_(self.w_z.bias)
            self.note = "starts as the identity: behind a closed gate it would never learn"

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        theta, phi, g = self.project(x)
        mix = _softmax_mix if self.form == "embedded_gaussian" else _dot_product_mix
        mixed = mixing(mix, theta, phi, g, without=g)
        return x + to_map(self.w_z(mixed), (x.shape[2], x.shape[3]))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> theta, phi and g, each (B, N, inner)."""
        tokens = to_tokens(x)
        return self.theta(tokens), self.phi(tokens), self.g(tokens)

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Row f(x_i, x_j) / C(x) of one query i: (B, 1, 1, H, W); of a dot product, also below 0."""
        size = (x.shape[2], x.shape[3])
        row, column = place = check_query(query, size)
        tokens = to_tokens(x)
        at = row * size[1] + column
        theta, phi = self.theta(tokens[:, at : at + 1]), self.phi(tokens)
        if self.form == "embedded_gaussian":
            weights = attention_weights(theta * math.sqrt(self.inner), phi)
        else:
            weights = theta @ phi.transpose(-2, -1) / phi.shape[1]
        return AttentionMap("rows", weights.reshape(x.shape[0], 1, 1, *size), (place,))


def _softmax_mix(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """(B, N, d) each -> (B, N, d), by the fused kernel, which requires a dimension for heads."""
    return F.scaled_dot_product_attention(theta[:, None], phi[:, None], g[:, None], scale=1.0)[:, 0]


def _dot_product_mix(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """(B, N, d) each -> (B, N, d), the (d, d) sum over positions first."""
    wide = torch.promote_types(theta.dtype, torch.float32)
    with no_autocast(theta):
        sums = phi.to(wide).transpose(-2, -1) @ (g.to(wide) / phi.shape[1])
        return (theta.to(wide) @ sums).to(theta.dtype)
