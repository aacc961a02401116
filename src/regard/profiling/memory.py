"""Measured memory of a forward pass, and the memory available."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from regard.graph.detector import Detector
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
