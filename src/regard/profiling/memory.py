"""Measured memory of a forward pass, the memory available, and the check before training that attention fits."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from regard.errors import RegardError
from regard.graph.cost import Shapes, attention_costs, row_costs
from regard.graph.detector import Detector
from regard.nn.capture import attention_modules
from regard.nn.counter import Cost
from regard.profiling.advice import NAMED, variants_for
from regard.system.resources import total_memory


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that are alive, operation by operation; scratch inside a kernel is not seen.

    Attributes:
        live: bytes of the tensors made in this mode that are alive.
        peak: the largest value of ``live`` since it was last set.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation and count what it made."""
        result = func(*args, **(kwargs or {}))
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in given | self._known:
                self._watch(tensor.untyped_storage())
        return result

    def _watch(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def row_peaks(detector: Detector, images: Tensor) -> list[int]:
    """Measure the peak memory of each layer, in bytes beyond what was allocated when it began.

    Args:
        detector: in evaluation mode, on the device of ``images``.
        images: (B, 3, H, W).
    """
    peaks: list[int] = []
    mode = LiveBytes()
    before = [0]

    def begin(*_: object) -> None:
        before[0] = mode.peak = mode.live

    def end(*_: object) -> None:
        peaks.append(mode.peak - before[0])

    hooks = [layer.register_forward_pre_hook(begin) for layer in detector.model]
    hooks += [layer.register_forward_hook(end) for layer in detector.model]
    try:
        with torch.no_grad(), mode:
            detector.raw(images)
    finally:
        for hook in hooks:
            hook.remove()
    return peaks


def available_bytes(device: torch.device) -> int:
    """Measure the memory that a process can have at most, in bytes: what is free on a GPU, else all of the host."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return total_memory()


MUCH_LESS = 4
"""A variant is suggested if it needs at least this many times less memory."""


def check_attention_fits(detector: Detector, imgsz: int, batch: int, device: torch.device) -> None:
    """Check that what attention keeps for the backward pass fits into memory, even if nothing else is there.

    Args:
        detector: to be trained.
        imgsz: side of the input in pixels.
        batch: images of a step on this device.
        device: where it will be trained.

    Raises:
        RegardError: they do not fit; the message lists the memory of each layer and suggests other modules.
    """
    if not attention_modules(detector.named_layers()):
        return
    counted = attention_costs(detector, imgsz)
    needs = {name: batch * cost.activation_bytes for name, (_, cost) in counted.items()}
    limit = available_bytes(device)
    if sum(needs.values()) <= limit:
        return
    largest = sorted(needs, key=lambda name: -needs[name])[:NAMED]
    instead = _much_smaller(detector, imgsz, {name: counted[name] for name in largest})
    rows = ", ".join(f"{name} {needs[name] / 2**30:,.1f} GiB" for name in largest)
    choices = f"{' or '.join(instead[:NAMED])} in their place, or " if instead else ""
    raise RegardError(
        f"attention alone would keep {sum(needs.values()) / 2**30:,.1f} GiB for the backward pass: {rows}",
        expected=f"at most the {limit / 2**30:,.1f} GiB of {device}",
        hint=f"use {choices}a smaller --imgsz or --batch (in Python: imgsz=, batch=)",
    )


def _much_smaller(detector: Detector, imgsz: int, counted: Mapping[str, tuple[Shapes, Cost]]) -> list[str]:
    """Names of modules of the catalogue that would keep far less memory than some of these."""
    total = sum(row.flops for row in row_costs(detector, imgsz))
    modules = attention_modules(detector.named_layers())
    found: dict[str, None] = {}  # a set that keeps its order
    for name, ((shape, *_), cost) in counted.items():
        variants = variants_for([modules[name]], shape, cost.flops, total)
        found |= {v.name: None for v in variants if MUCH_LESS * v.activation_bytes < cost.activation_bytes}
    return list(found)
