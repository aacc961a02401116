"""Largest speed-up of the whole model by a cheaper variant of an attention layer (Amdahl, 1967).

A variant replaces the mixing: the products of queries, keys and values, N^2 of them in plain self-attention. If mixing
cost nothing, the model would still do everything else, so total / (total - mixing) is more than any variant can reach:
by FLOPs as counted, by time from running the model with the mixing and with it left out, in turn.

Advice states whether a replacement could speed up the model, and names cheaper variants, by their time where it was
measured: some that need fewer FLOPs are slower. On a busy machine the times may show nothing: advice says so.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.graph.cost import RowCost
from regard.graph.detector import Detector
from regard.nn.attention import ATTENTION
from regard.nn.counter import WatchedMixing, count_on_map
from regard.nn.gate import Gated, without_gate
from regard.profiling.latency import latencies_in_turn, median_interval

LEAST = 0.01
"""Least part of a model's time that remains without a mixing, so that noise gives no negative time."""
WORTH_IT = 1.05
"""Least possible speed-up of the whole model for which a replacement is advised."""


@dataclass(frozen=True)
class Bound:
    """How many times as fast the whole model could become by a cheaper mixing in one row.

    Attributes:
        row: the row's name.
        by_flops: total FLOPs over those without the mixing.
        by_time: median over repeats of the model's time over its time less that of the mixing.
        spread: interval that covers the true median with a probability of 95 %; with fewer than six repeats, the
            smallest and largest ratio.
    """

    row: str
    by_flops: float
    by_time: float
    spread: tuple[float, float]

    @property
    def is_noisy(self) -> bool:
        """Whether the times cannot show if a cheaper mixing is worth it.

        Without its mixing a model is never slower, so ratios below 1 are noise. It is too large if they are as far from
        1 as a gain that is worth it, or if such gains are in the interval too.
        """
        low, high = self.spread
        return low < 1 / WORTH_IT or low < 1 < WORTH_IT <= high


def bounds(detector: Detector, images: Tensor, costs: list[RowCost], repeats: int = 10) -> list[Bound]:
    """Compute the bound for every layer that mixes positions.

    Args:
        detector: in evaluation mode, on the device of ``images``.
        images: (B, 3, H, W).
        costs: of every row at the size of ``images``.
        repeats: paired runs.
    """
    mixing = [(name, i) for i, (name, _) in enumerate(detector.named_layers()) if costs[i].mixing_flops]
    pairs = [(with_watched_mixing(detector, i, leave_out=False), with_watched_mixing(detector, i)) for _, i in mixing]
    models = [detector, *(model for pair in pairs for model in pair)]
    own, *others = latencies_in_turn([partial(model.raw, images) for model in models], images.device, repeats)
    total = sum(cost.flops for cost in costs)
    found = []
    for (name, i), watched, without in zip(mixing, others[::2], others[1::2], strict=True):
        # Watching takes time too, and in both of them the same: what their difference is, the model itself could save.
        ratios = [t / max(t - (w - o), LEAST * t) for t, w, o in zip(own, watched, without, strict=True)]
        by_flops = total / (total - costs[i].mixing_flops)
        found.append(Bound(name, by_flops, median(ratios), median_interval(ratios)))
    return found


def with_watched_mixing(detector: Detector, row: int, *, leave_out: bool = True) -> Detector:
    """Copy a detector, with which it shares all layers except one, whose mixing is watched; a gate stays around it.

    Args:
        detector: to be copied.
        row: index of the layer.
        leave_out: see `regard.nn.counter.WatchedMixing`.
    """
    shared = {id(layer): layer for layer in detector.model}
    result = copy.deepcopy(detector, shared)
    layer = detector.model[row]
    changed: nn.Module = WatchedMixing(without_gate(layer), leave_out=leave_out)
    if isinstance(layer, Gated):
        gated = Gated(changed)
        gated.gamma = layer.gamma
        changed = gated
    result.model[row] = changed.train(detector.training)
    return result


REPEAT = "repeat on an idle machine, or with more --repeats (in Python: repeats=)"
"""What to do where times are too noisy."""
NAMED = 4
"""Largest number of variants that an advice names."""
MEASURED = 8
"""Number of variants, the cheapest by FLOPs, whose time is measured."""
NOT_A_VARIANT = ("channel", "spatial", "channel and spatial", "convolution")
"""Families in which positions do not attend to one another."""


@dataclass(frozen=True)
class Variant:
    """A module of the catalogue that could replace a row's attention.

    Attributes:
        name: its YAML name.
        flops: of the attention.
        speed_up: the whole model's FLOPs over those with it.
        activation_bytes: memory that it keeps for the backward pass, for one image.
        by_time: the whole model's time over that with it; None where it was not measured.
    """

    name: str
    flops: int
    speed_up: float
    activation_bytes: int
    by_time: float | None = None


def variants_for(attention: Sequence[nn.Module], shape: tuple[int, ...], now: int, total: int) -> list[Variant]:
    """Cheaper modules of the catalogue, with their default options, cheapest first.

    Args:
        attention: what would be exchanged, all at once: one module, or those of a block, alike.
        shape: (C, H, W) of the map that each reads and gives.
        now: FLOPs of all of them.
        total: FLOPs of the whole model.
    """
    found = []
    for name, kind in ATTENTION.items():
        if kind is type(attention[0]) or kind.card.family in NOT_A_VARIANT:
            continue
        try:
            module = kind(shape[0])
        except RegardError:  # its defaults do not suit this number of channels
            continue
        cost = count_on_map(module, *shape)
        flops = len(attention) * cost.flops
        if module.out_channels == shape[0] and flops < now:
            memory = len(attention) * cost.activation_bytes
            found.append(Variant(name, flops, total / (total - now + flops), memory))
    return sorted(found, key=lambda variant: variant.flops)


def with_times(
    variants: Sequence[Variant], attention: Sequence[nn.Module], shape: tuple[int, ...], total: float, repeats: int = 10
) -> list[Variant]:
    """Measure the cheapest variants on a map of noise, in turn with the attention that they would replace.

    Args:
        variants: from ``variants_for``, cheapest first.
        attention: what would be exchanged, in evaluation mode, on the device that is measured.
        shape: (C, H, W) of the map that each reads.
        total: seconds of the whole model.
        repeats: runs that count.

    Returns:
        The first `MEASURED` variants, fastest first; without those that are slower than the attention is now.
    """
    if not variants:
        return []
    device = next(attention[0].parameters(), torch.empty(0)).device
    x = torch.rand(1, *shape, device=device)
    made = [ATTENTION[variant.name](shape[0]).to(device).eval() for variant in variants[:MEASURED]]
    now, *others = latencies_in_turn([partial(module, x) for module in (attention[0], *made)], device, repeats)
    found = []
    for variant, times in zip(variants, others, strict=False):
        saved = len(attention) * median(a - b for a, b in zip(now, times, strict=True))
        if 0 < saved < total:
            found.append(replace(variant, by_time=total / (total - saved)))
    return sorted(found, key=lambda variant: -(variant.by_time or 0))


def advise(bound: Bound, share: float, variants: list[Variant] | None) -> str:
    """State whether a replacement could speed up the model.

    The bound leaves only the mixing out: modules with smaller projections, too, can save more and are then named.

    Args:
        bound: of the row.
        share: of the mixing in the model's FLOPs, 0..1.
        variants: from ``variants_for`` or ``with_times``; None for a block whose attention cannot be exchanged.
    """
    sentences = [f"{bound.row}: its mixing is {share:.1%} of the model's FLOPs."]
    if bound.is_noisy:
        low, high = bound.spread
        sentences.append(f"By FLOPs, a cheaper mixing makes the model at most {bound.by_flops:.2f}x as fast.")
        sentences.append(
            f"The times are too noisy to tell ({bound.by_time:.2f}x, spread {low:.2f} to {high:.2f}; below 1 is "
            f"impossible): {REPEAT}."
        )
        return " ".join(sentences)
    best = max(bound.by_time, bound.by_flops)
    if best < WORTH_IT:
        more = [v for v in variants or () if min(v.speed_up, v.by_time or v.speed_up) >= WORTH_IT]
        end = " for that" if more else ""
        sentences.append(
            f"A cheaper mixing alone makes the model at most {best:.2f}x as fast: a swap is not worth it{end}."
        )
        if more:
            sentences.append(f"Modules with fewer other products as well could, {_named(more)}.")
        return " ".join(sentences)
    end = "" if variants else "; the catalogue has none here that is faster"
    if variants is None:
        end = "; its attention is its own, and cheaper kinds would take another block, such as C3Attention"
    sentences.append(
        f"A cheaper mixing could make the model up to {max(bound.by_time, 1):.2f}x as fast by measured time, "
        f"{bound.by_flops:.2f}x by FLOPs{end}."
    )
    if variants:
        sentences.append(f"Modules in its place, {_named(variants)}.")
        if _best(variants) > bound.by_time:
            sentences.append("Some have fewer other products as well.")
        sentences.append("What they do to accuracy is another question.")
    return " ".join(sentences)


def _best(variants: Sequence[Variant]) -> float:
    return max(v.by_time or v.speed_up for v in variants)


def _named(variants: list[Variant]) -> str:
    """Variants with the speed-up of the whole model."""
    by = "by time, measured alone" if variants[0].by_time else "by FLOPs"
    return f"{by}: {', '.join(f'{v.name} ({v.by_time or v.speed_up:.2f}x)' for v in variants[:NAMED])}"
