"""Different attention in different heads: one projection, and each head mixes values by a kind of its own.

q, k, v = tokens W + b for all heads; b_i = W_o [sum_j a_hij v_hj for h in heads], a_h the weights of head h's kind.
Sparse Transformers give heads different patterns (Child et al., 1904.10509, section 5.1, the third way), Longformer
different dilations (2004.05150, section 3.1); here any kind that takes queries, keys and values as they are can be a
head. Neighbouring heads of the same kind and options run together, as that kind with so many heads, so that with all
heads of one kind this is that kind.

A single head of `StridedAttention`, whose heads are half near and half far, is a far one, unless its ``near_heads``
states otherwise.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from regard.errors import RegardError, nearest, one_of
from regard.nn.attention.agent import AgentAttention
from regard.nn.attention.area import AreaAttention
from regard.nn.attention.bi_level_routing import BiLevelRoutingAttention
from regard.nn.attention.big_bird import BigBirdAttention
from regard.nn.attention.core import Card, Size, check_divides
from regard.nn.attention.criss_cross import CrissCrossAttention
from regard.nn.attention.differential import DifferentialAttention
from regard.nn.attention.dilated import MultiScaleDilatedAttention
from regard.nn.attention.global_tokens import GlobalTokensAttention
from regard.nn.attention.halo import HaloAttention
from regard.nn.attention.kernel import EfficientAttention, LinearAttention, ReLULinearAttention
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.nystrom import NystromAttention
from regard.nn.attention.performer import Performer
from regard.nn.attention.position import MAP_POSITIONS, check_pos_embed
from regard.nn.attention.routing import RoutingAttention
from regard.nn.attention.self_attention import MultiHeadSelfAttention
from regard.nn.attention.sinkhorn import SinkhornAttention
from regard.nn.attention.sliding import DilatedNeighborhoodAttention, LocalAttention, NeighborhoodAttention
from regard.nn.attention.strided import StridedAttention
from regard.nn.attention.top_k import ApproximateTopKAttention, TopKAttention
from regard.nn.attention.window import ShiftedWindowAttention, WindowAttention
from regard.types import AttentionMap

KINDS: Mapping[str, type[MultiHead]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            MultiHeadSelfAttention,
            LocalAttention,
            NeighborhoodAttention,
            DilatedNeighborhoodAttention,
            WindowAttention,
            ShiftedWindowAttention,
            HaloAttention,
            StridedAttention,
            GlobalTokensAttention,
            CrissCrossAttention,
            AreaAttention,
            BigBirdAttention,
            SinkhornAttention,
            RoutingAttention,
            BiLevelRoutingAttention,
            TopKAttention,
            ApproximateTopKAttention,
            NystromAttention,
            AgentAttention,
            DifferentialAttention,
            MultiScaleDilatedAttention,
            LinearAttention,
            ReLULinearAttention,
            EfficientAttention,
            Performer,
        )
    }
)
"""What a head can be: every kind of the catalogue that mixes values by queries and keys of the common projection."""

Head = str | Mapping[str, Mapping[str, Any]]
"""Name of a kind, or its name and its options: ``"LocalAttention"``, ``{"LocalAttention": {"window": 5}}``."""

DEFAULT = ("LocalAttention", "StridedAttention", "GlobalTokensAttention", "MultiHeadSelfAttention")

HEAD_POSITIONS = ("none", "rotary", "relative", "log_cpb")
"""Kinds of position that heads can have separately; the others act on the map, before the heads part."""


class MixedHeads(MultiHead):
    """Heads of different kinds, which see different patterns of positions, with a common projection.

    Args:
        in_channels: channels of the input and the output; a multiple of the number of heads.
        heads: kind of each head, or a mapping of its name to its options; see ``KINDS``. Options that state positions
            can be "rotary" or, where the kind has them, "relative" and "log_cpb".
        pos_embed: kind of position that acts on the map before the heads part, see ``POSITIONS``.

    Raises:
        RegardError: there is no such kind, it cannot be a head, it has no such option, or the options do not fit.

    Example:
        >>> MixedHeads(8, [{"LocalAttention": {"window": 3}}, "MultiHeadSelfAttention"])(torch.zeros(1, 8, 5, 7)).shape
        torch.Size([1, 8, 5, 7])
    """

    list_of: ClassVar[Mapping[str, Mapping[str, type[MultiHead]]]] = {"heads": KINDS}
    card = Card(
        family="sparse",
        paper="1904.10509",
        equation="b_i = W_o [sum_j a_hij v_hj for h in heads], a_h of the kind of head h",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + C * (ceiling(H / 8) * ceiling(W / 8) * 64"
        " * (Min(14, H) * Min(14, W) + ceiling(H / 8) * ceiling(W / 8))"
        " + ceiling(H / 7) * ceiling(W / 7) * 49 * 185 + 16 * N + N**2)",
        peers=("each kind alone", "attention under an explicit mask for each head"),
        when="When one layer should see several patterns, such as near, far and global ones, each in heads of its own.",
        linear=False,
    )

    def __init__(self, in_channels: int, heads: Sequence[Head] = DEFAULT, pos_embed: str = "none") -> None:
        check_pos_embed("MixedHeads", pos_embed, MAP_POSITIONS)
        if isinstance(heads, str) or not heads:
            raise RegardError(f"MixedHeads: heads is {heads!r}", expected=f"a list, such as {list(DEFAULT)}")
        check_divides(in_channels, len(heads), "number of heads")
        super().__init__(in_channels, len(heads), pos_embed)
        runs = [(name, options, len([*run])) for (name, options), run in itertools.groupby(map(_kind_of, heads))]
        channels = in_channels // len(heads)
        kinds = [_without_projection(name, channels, n, options) for name, options, n in runs]
        self.kinds = nn.ModuleList(kinds)
        self.counts = [n for _, _, n in runs]
        self.note = "; ".join(dict.fromkeys(kind.note for kind in kinds if kind.note))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries, keys and values with the positions of their heads, each (B, heads, H * W, d)."""
        q, k, v = super().project(x)
        size = (x.shape[2], x.shape[3])
        q, k = (_joined(kind.position.on_heads(t, size) for kind, t in self._split(of_all)) for of_all in (q, k))
        return q, k, v

    def _split(self, *of_all: Tensor) -> Iterator[tuple[Any, ...]]:
        """Each kind and its heads of some (B, heads, N, d)."""
        return zip(self.kinds, *(torch.split(t, self.counts, 1) for t in of_all), strict=True)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d), each kind by its own fastest path."""
        return _joined(kind.mix(*of_heads, size) for kind, *of_heads in self._split(q, k, v))

    def with_values(self, mixed: Tensor, v: Tensor, size: Size) -> Tensor:
        """Mixed values and what kinds add of the values themselves: (B, heads, H * W, d) each -> the same."""
        return _joined(kind.with_values(*of_heads, size) for kind, *of_heads in self._split(mixed, v))

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """As `MultiHead.attention`, with the name of each head's kind."""
        kinds = zip(self.kinds, self.counts, strict=True)
        names = tuple(name for kind, n in kinds for name in n * [type(kind).__name__])
        return replace(super().attention(x, query), heads=names)

    def attention_mask(self, query: Size, size: Size) -> Tensor:
        """What each head sees from ``query``: (heads, H, W), boolean."""
        kinds: Iterator[tuple[Any, int]] = zip(self.kinds, self.counts, strict=True)
        return torch.cat([kind.attention_mask(query, size).expand(n, *size) for kind, n in kinds])

    def row_among(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:
        """Weights of one of the queries in each head: (B, heads, 1, N)."""
        rows = (kind.row_among(*of_heads, query, size) for kind, *of_heads in self._split(q, k))
        return _joined(row.to(q.dtype) for row in rows)


def _joined(of_kinds: Iterable[Tensor]) -> Tensor:
    """Heads of all kinds, (B, heads, N, d); without a copy if there is one kind."""
    first, *others = of_kinds
    return torch.cat((first, *others), 1) if others else first


def _kind_of(head: Head) -> tuple[str, Mapping[str, Any]]:
    """Name and options of a head."""
    if isinstance(head, str):
        head = {head: {}}
    if not isinstance(head, Mapping) or len(head) != 1 or not isinstance(options := next(iter(head.values())), Mapping):
        expected = "a name, or one name with its options: {name: {}}"
        raise RegardError(f"MixedHeads: a head is {head!r}", expected=expected)
    (name,) = head
    if name not in KINDS:
        expected = one_of(KINDS)
        raise RegardError(f"MixedHeads: {name!r} cannot be a head", expected=expected, hint=nearest(name, KINDS))
    known = [o for o in inspect.signature(KINDS[name]).parameters if o not in ("in_channels", "num_heads")]
    for option in options:
        if option not in known:
            what = f"MixedHeads: a head of {name} has no option {option!r}"
            raise RegardError(what, expected=one_of(known), hint=nearest(option, known))
    if "pos_embed" in options:
        check_pos_embed(f"MixedHeads: a head of {name}", options["pos_embed"], HEAD_POSITIONS)
    return name, options


def _without_projection(name: str, channels: int, num_heads: int, options: Mapping[str, Any]) -> MultiHead:
    """Kind for ``num_heads`` heads of ``channels`` each, which shares the projection of all heads."""
    if name == "StridedAttention" and num_heads == 1:
        options = {"near_heads": 0, **options}
    build: Any = KINDS[name]
    kind: MultiHead = build(num_heads * channels, num_heads=num_heads, **options)
    del kind.qkv, kind.out
    return kind
