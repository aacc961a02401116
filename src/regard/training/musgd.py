"""MuSGD: Nesterov momentum, to which matrices add a step along their orthogonalised momentum (Muon).

Muon is by Jordan et al. (2024, https://kellerjordan.github.io/posts/muon); its combination with SGD is that of YOLO26.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration; after five steps the singular values are between about 0.7 and 1.2."""
ITERATIONS = 5
EPSILON = 1e-7
MUON_SHARE = 0.2
"""Learning rate of the orthogonalised step, relative to that of SGD."""


def orthogonalise(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Replace the singular values of matrices (..., m, n) by numbers near 1, by a Newton-Schulz iteration.

    Args:
        matrices: any floating type, which the result has too.
        dtype: type of the products.

    Example:
        >>> values = torch.linalg.svdvals(orthogonalise(torch.tensor([[3.0, 0.0], [0.0, 1.0]])))
        >>> bool((values > 0.6).all() and (values < 1.3).all())
        True
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.to(dtype)
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + EPSILON)
    x = x.mT if is_tall else x
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if is_tall else x).to(matrices.dtype)


class MuSGD(Optimizer):
    """SGD with Nesterov momentum; groups with ``matrices`` take an orthogonalised step before it.

    A tensor of such a group counts as a matrix of its first dimension by all others. With momentum b, gradient g and
    average M <- b M + (1 - b) g, the weights move by ``MUON_SHARE * lr`` along the orthogonalised b M + (1 - b) g; the
    weight decay of the SGD step that follows sees the moved weights.

    Args:
        groups: with ``params`` and, where they differ from the defaults, ``lr``, ``momentum``, ``weight_decay``,
            ``matrices``.
        lr: learning rate.
        momentum: of both steps, from 0 to 1.
        dtype: type in which matrices are orthogonalised; None for bfloat16 on a GPU and float32 elsewhere.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], *, lr: float, momentum: float, dtype: torch.dtype | None = None
    ) -> None:
        self.dtype = dtype
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "matrices": False})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            if group["matrices"]:
                self._orthogonal_step(parameters, group["lr"], group["momentum"])
            gradients = torch._foreach_add([p.grad for p in parameters], parameters, alpha=group["weight_decay"])
            velocities = [self._kept(p, "momentum_buffer") for p in parameters]
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, gradients)
            torch._foreach_add_(gradients, velocities, alpha=group["momentum"])
            torch._foreach_add_(parameters, gradients, alpha=-group["lr"])
        return loss

    def _orthogonal_step(self, parameters: list[Tensor], lr: float, momentum: float) -> None:
        averages = [self._kept(p, "average") for p in parameters]
        gradients = [p.grad for p in parameters if p.grad is not None]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        updates = torch._foreach_lerp(averages, gradients, 1 - momentum)
        by_shape: dict[tuple[int, int], list[int]] = {}  # equal shapes are multiplied together
        for i, update in enumerate(updates):
            by_shape.setdefault((len(update), update[0].numel()), []).append(i)
        for shape, members in by_shape.items():
            matrices = torch.stack([updates[i].reshape(shape) for i in members])
            dtype = self.dtype or (torch.bfloat16 if matrices.is_cuda else torch.float32)
            for i, turned in zip(members, orthogonalise(matrices, dtype), strict=True):
                weight = parameters[i]
                scale = math.sqrt(max(1.0, weight.shape[-2] / weight.shape[-1]))
                weight.add_(turned.view(weight.shape), alpha=-MUON_SHARE * lr * scale)

    def _kept(self, parameter: Tensor, name: str) -> Tensor:
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        kept = state[name]
        assert isinstance(kept, Tensor)
        return kept
