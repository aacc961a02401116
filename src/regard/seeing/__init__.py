"""Looking inside a detector: what a layer attends to, and what a detection rests on."""

from __future__ import annotations

from regard.seeing.attend import AttentionLayer, View, attend, attention_layers
from regard.seeing.gradient import GradientMap, choose_detection, grad_cam, gradient_map, gradient_product

__all__ = [
    "AttentionLayer",
    "GradientMap",
    "View",
    "attend",
    "attention_layers",
    "choose_detection",
    "grad_cam",
    "gradient_map",
    "gradient_product",
]
