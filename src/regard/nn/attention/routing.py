"""Attention within clusters (Roy et al., Routing Transformer, 2003.05997, section 4 and algorithm 1).

Each head keeps k centroids. Of queries, and of keys, scaled to length 1, each centroid takes the w = ceil(N / k) that
have the largest product with it; those queries attend to those keys: b_i = the mean, over the clusters that took i,
of sum over j in the cluster of softmax_j(q_i . k_j / sqrt(d)) v_j. A query that no cluster took gets 0. Cost is
4 C N^2 / k. With one cluster this is plain attention.

In training the centroids follow the means of what is nearest to them, mu <- decay mu + (1 - decay) (mean of queries +
mean of keys) / 2, at length 1; a forward pass uses them as they were before it. So in training ``attention`` gives the
weights of the pass to come: asked after a pass, it uses the centroids that this pass has moved. In evaluation they
rest. They are a buffer: saved and copied with the weights, and with several processes the first one's are sent to all
before each pass, as for batch norm.

Deviations: no causality, so queries and keys may differ, and each has its own top w; attention itself takes them as
they are, not at length 1; one mean for all clusters that took a query, where the paper leaves open which one counts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.core import (
    Card,
    Size,
    attention_weights,
    ceil_div,
    check_at_least,
    fused_attention,
    no_autocast,
)
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import check_pos_embed


class RoutingAttention(MultiHead):
    """Every position attends within the clusters of similar vectors that it belongs to.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: number of heads, each of ``in_channels / num_heads`` channels, with separate clusters.
        clusters: k; the paper advises the square root of N.
        decay: how much of a centroid stays at each step of training.
        pos_embed: kind of position, see ``POSITIONS``; not relative.
    """

    card = Card(
        family="sparse",
        paper="2003.05997",
        equation="b_i = W_o mean over clusters c of i of [sum_{j in c} softmax_j(q_hi . k_hj / sqrt(d)) v_hj]",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * C * clusters * (N + ceiling(N / clusters)**2)",
        peers=("attention under an explicit mask, cluster by cluster", "MultiHeadSelfAttention with one cluster"),
        when="When positions should attend within clusters that are learned with the network; the cost is N^2"
        " divided by the number of clusters.",
        linear=False,
    )

    def __init__(
        self, in_channels: int, num_heads: int = 4, clusters: int = 16, decay: float = 0.999, pos_embed: str = "none"
    ) -> None:
        check_pos_embed("RoutingAttention", pos_embed)
        check_at_least("RoutingAttention", "clusters", clusters, 1)
        if not 0 <= decay <= 1:
            raise RegardError(f"RoutingAttention: decay {decay}", expected="a number from 0 to 1, such as 0.999")
        super().__init__(in_channels, num_heads, pos_embed)
        self.clusters = clusters
        self.decay = decay
        self.centroids: Tensor
        drawn = F.normalize(torch.randn(num_heads, clusters, in_channels // num_heads), dim=-1)
        self.register_buffer("centroids", drawn)

    def similarity(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, heads, N, d) -> the same at length 1, and products with the centroids, (B, heads, clusters, N)."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        with no_autocast(x):
            unit = F.normalize(x.detach().to(dtype), dim=-1)
            return unit, self.centroids.to(dtype) @ unit.mT

    def members(self, similarity: Tensor) -> Tensor:
        """Tokens that each cluster takes: (B, heads, clusters, N) -> (B, heads, clusters, w)."""
        return similarity.topk(ceil_div(similarity.shape[-1], self.clusters), dim=-1).indices

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        of_queries, of_keys = self.similarity(q), self.similarity(k)
        queries, keys = self.members(of_queries[1]), self.members(of_keys[1])
        at_q, at_k, at_v = (_pick(t, at).flatten(0, 1) for t, at in ((q, queries), (k, keys), (v, keys)))
        in_clusters = fused_attention(at_q, at_k, at_v)
        flat = queries.flatten(2)
        times = torch.zeros_like(q[..., 0]).scatter_add(2, flat, torch.ones_like(flat, dtype=q.dtype))
        values = in_clusters.to(q.dtype).view(*flat.shape, q.shape[-1])
        sums = torch.zeros_like(q).scatter_add(2, flat[..., None].expand_as(values), values)
        if self.training:
            self._follow(*of_queries, *of_keys)
        return sums / times.clamp(min=1)[..., None]

    @torch.no_grad()
    def _follow(self, queries: Tensor, of_queries: Tensor, keys: Tensor, of_keys: Tensor) -> None:
        """Move the centroids towards the means of the queries and of the keys that are nearest to them."""
        steps = torch.zeros_like(self.centroids, dtype=queries.dtype)
        for unit, similarity in ((queries, of_queries), (keys, of_keys)):
            nearest = similarity.argmax(2, keepdim=True)  # (B, heads, 1, N)
            is_nearest = (nearest == torch.arange(self.clusters, device=unit.device)[:, None]).to(unit.dtype)
            with no_autocast(unit):
                sums = (is_nearest @ unit).sum(0)  # (heads, clusters, d)
            count = is_nearest.sum((0, 3))[..., None]
            steps += torch.where(count > 0, sums / count.clamp(min=1), self.centroids.to(unit.dtype)) / 2
        moved = self.decay * self.centroids.to(steps.dtype) + (1 - self.decay) * steps
        self.centroids.copy_(F.normalize(moved, dim=-1))

    def row_among(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:
        """Weights of one of the queries, 0 if no cluster took it: (B, heads, 1, N).

        In training they are those of the next forward pass; see above.
        """
        at = query[0] * size[1] + query[1]
        queries, keys = self.members(self.similarity(q)[1]), self.members(self.similarity(k)[1])
        took = (queries == at).any(-1, keepdim=True)  # (B, heads, clusters, 1)
        weights = attention_weights(q[:, :, None, at : at + 1], _pick(k, keys))[..., 0, :]
        weights = weights * took / took.sum(2, keepdim=True).clamp(min=1)
        found = torch.zeros_like(k[..., 0]).scatter_add(2, keys.flatten(2), weights.flatten(2).to(k.dtype))
        return found[:, :, None]


def _pick(x: Tensor, at: Tensor) -> Tensor:
    """(B, heads, N, d), (B, heads, clusters, w) -> (B, heads, clusters, w, d)."""
    return x.gather(2, at.flatten(2)[..., None].expand(-1, -1, -1, x.shape[-1])).view(*at.shape, x.shape[-1])
