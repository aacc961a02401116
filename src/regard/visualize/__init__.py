"""Looking inside a detector: what a layer attends to, and what a detection rests on."""

from __future__ import annotations

from regard.visualize.attend import AttentionLayer, View, attend, attention_layers
from regard.visualize.gradient import GradientMap, choose_detection, grad_cam, gradient_map, gradient_product

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
