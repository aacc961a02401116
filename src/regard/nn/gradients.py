"""Layers that change nothing but the memory in which a gradient reaches the layer before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def with_gradient(x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """``x`` itself, whose gradient is passed through ``change``, which must keep its values."""
    same = _Identity.apply(x, change)
    assert isinstance(same, Tensor)
    return same


def contiguous_gradient(x: Tensor) -> Tensor:
    """``x`` itself, whose gradient is contiguous when it reaches the layer before.

    On the CPU, torch 2.14 computes the backward pass of batch norm wrongly for one image whose gradient has permuted
    strides, as attention on tokens gives it: the gradients of YOLO12 were 22 % too small.

    Args:
        x: the output of a batch norm, of any shape.
    """
    if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and x.requires_grad):
        return x
    return with_gradient(x, Tensor.contiguous)


class _Identity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.change = change
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.change(gradients[0]), None
