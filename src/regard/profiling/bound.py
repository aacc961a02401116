"""Largest speed-up of the whole model by a cheaper variant of an attention layer (Amdahl, 1967).

A variant replaces the mixing: the products of queries, keys and values, N^2 of them in plain self-attention. If mixing
cost nothing, the model would still do everything else, so total / (total - mixing) is more than any variant can reach:
by FLOPs as counted, by time from running the model with the mixing left out, in turn with the model itself.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from statistics import median

from torch import Tensor, nn

from regard.graph.cost import RowCost
from regard.graph.detector import Detector
from regard.nn.counter import WithoutMixing
from regard.nn.gate import Gated
from regard.profiling.latency import latencies_in_turn


@dataclass(frozen=True)
class Bound:
    """How many times as fast the whole model could become by a cheaper mixing in one row.

    Attributes:
        row: the row's name.
        by_flops: total FLOPs over those without the mixing.
        by_time: median over repeats of the model's time over its time without the mixing.
        spread: smallest and largest of these ratios.
    """

    row: str
    by_flops: float
    by_time: float
    spread: tuple[float, float]


def bounds(detector: Detector, images: Tensor, costs: list[RowCost], repeats: int = 10) -> list[Bound]:
    """Compute the bound for every layer that mixes positions.

    Args:
        detector: in evaluation mode, on the device of ``images``.
        images: (B, 3, H, W).
        costs: of every row at the size of ``images``.
        repeats: paired runs.
    """
    mixing = [(name, i) for i, (name, _) in enumerate(detector.named_layers()) if costs[i].mixing_flops]
    variants = [without_mixing(detector, i) for _, i in mixing]
    functions = [lambda model=model: model.raw(images) for model in (detector, *variants)]
    own, *others = latencies_in_turn(functions, images.device, repeats)
    total = sum(cost.flops for cost in costs)
    found = []
    for (name, i), times in zip(mixing, others, strict=True):
        ratios = [a / b for a, b in zip(own, times, strict=True)]
        by_flops = total / (total - costs[i].mixing_flops)
        found.append(Bound(name, by_flops, median(ratios), (min(ratios), max(ratios))))
    return found


def without_mixing(detector: Detector, row: int) -> Detector:
    """Copy a detector, with which it shares all layers except one, whose mixing is left out; a gate stays around it."""
    shared = {id(layer): layer for layer in detector.model}
    result = copy.deepcopy(detector, shared)
    layer = detector.model[row]
    changed: nn.Module = WithoutMixing(layer.module if isinstance(layer, Gated) else layer)
    if isinstance(layer, Gated):
        gated = Gated(changed)
        gated.gamma = layer.gamma
        changed = gated
    result.model[row] = changed.train(detector.training)
    return result
