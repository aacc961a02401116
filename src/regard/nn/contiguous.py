"""Gradients in one piece, for layers whose backward pass is wrong or slow with others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def contiguous_gradient(x: Tensor) -> Tensor:
    """``x`` itself, whose gradient is contiguous when it reaches the layer before.

    On the CPU, torch 2.14 computes the backward pass of batch norm wrongly for one image whose gradient has permuted
    strides, as attention on tokens gives it: the gradients of YOLO12 were 22 % too small.

    Args:
        x: the output of a batch norm, of any shape.
    """
    if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and x.requires_grad):
        return x
    same = _ContiguousGradient.apply(x)
    assert isinstance(same, Tensor)
    return same


class _ContiguousGradient(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        return gradient.contiguous()
