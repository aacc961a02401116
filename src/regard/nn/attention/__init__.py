"""The catalogue: YAML name -> class. A new module is one file and one row here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from regard.nn.attention.base import Attention
from regard.nn.attention.cbam import CBAM
from regard.nn.attention.coordinate import CoordinateAttention
from regard.nn.attention.eca import ECA
from regard.nn.attention.global_context import GlobalContext
from regard.nn.attention.linear import LinearAttention, ReLULinearAttention
from regard.nn.attention.non_local import NonLocal
from regard.nn.attention.performer import Performer
from regard.nn.attention.se import SE
from regard.nn.attention.self_attention import MultiHeadSelfAttention, SelfAttention
from regard.nn.attention.simam import SimAM
from regard.nn.attention.transformer_block import TransformerBlock

ATTENTION: Mapping[str, type[Attention]] = MappingProxyType(
    {
        "SE": SE,
        "ECA": ECA,
        "CBAM": CBAM,
        "CoordinateAttention": CoordinateAttention,
        "GlobalContext": GlobalContext,
        "SimAM": SimAM,
        "SelfAttention": SelfAttention,
        "MultiHeadSelfAttention": MultiHeadSelfAttention,
        "TransformerBlock": TransformerBlock,
        "NonLocal": NonLocal,
        "LinearAttention": LinearAttention,
        "ReLULinearAttention": ReLULinearAttention,
        "Performer": Performer,
    }
)

__all__ = ["ATTENTION", "Attention"]
