"""The catalogue: YAML name -> class. A new module is one file and one row here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from regard.nn.attention.base import Attention
from regard.nn.attention.se import SE
from regard.nn.attention.self_attention import MultiHeadSelfAttention, SelfAttention

ATTENTION: Mapping[str, type[Attention]] = MappingProxyType(
    {
        "SE": SE,
        "SelfAttention": SelfAttention,
        "MultiHeadSelfAttention": MultiHeadSelfAttention,
    }
)

__all__ = ["ATTENTION", "Attention"]
