"""The catalogue: YAML name -> class. A new module is one file and one row here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from regard.nn.attention.base import Attention
from regard.nn.attention.cbam import CBAM
from regard.nn.attention.coordinate import CoordinateAttention
from regard.nn.attention.eca import ECA
from regard.nn.attention.global_context import GlobalContext
from regard.nn.attention.se import SE
from regard.nn.attention.self_attention import MultiHeadSelfAttention, SelfAttention
from regard.nn.attention.simam import SimAM

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
    }
)

__all__ = ["ATTENTION", "Attention"]
