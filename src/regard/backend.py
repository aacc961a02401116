"""What prediction and evaluation ask of a detector, whether it is a PyTorch module or an exported file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regard.types import Predictions


class Backend(Protocol):
    """A detector that is ready to be asked.

    An exported file with NMS inside takes part by returning its detections as predictions that score 0 in all classes
    but one. Suppressing those again with the same settings changes nothing.
    """

    @property
    def names(self) -> Mapping[int, str]:
        """Class names, by class index."""

    @property
    def max_stride(self) -> int:
        """The number that the sides of the input must be multiples of, in pixels."""

    def __call__(self, images: Tensor, /) -> Predictions:
        """Map (B, 3, H, W) RGB in 0..1 to boxes in input pixels and class scores."""


def as_input(images: Tensor, backend: Backend) -> Tensor:
    """Return (B, 3, H, W) uint8 images as 0..1 floats on the device, and in the precision, of the backend's weights."""
    weight = next(backend.parameters(), None) if isinstance(backend, nn.Module) else None
    device, dtype = (weight.device, weight.dtype) if weight is not None else (torch.device("cpu"), torch.float32)
    return images.to(device, non_blocking=True).to(dtype) / 255


@contextmanager
def inference(backend: Backend) -> Iterator[None]:
    """Turn gradients off, and put a module in evaluation mode until the block ends."""
    with torch.inference_mode():
        if not isinstance(backend, nn.Module):
            yield
            return
        was_training = backend.training
        backend.eval()
        try:
            yield
        finally:
            backend.train(was_training)


class BackendFinder:
    """A module or an exported file as a `regard.finder.Finder`.

    Args:
        backend: a module is asked in evaluation mode, without gradients, and left as it was.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def names(self) -> Mapping[int, str]:
        """Class names, by class index."""
        return self.backend.names

    @property
    def max_stride(self) -> int:
        """The number that the sides of the input must be multiples of, in pixels."""
        return self.backend.max_stride

    def rows(self, images: NDArray[np.uint8], conf: float) -> list[NDArray[np.float32]]:
        """See `regard.finder.Finder.rows`."""
        with inference(self.backend):
            boxes, scores = self.backend(as_input(torch.from_numpy(images), self.backend))
            likely = scores.amax(2) > conf
            rows = [torch.cat((b[i], s[i]), 1) for b, s, i in zip(boxes, scores, likely, strict=True)]
            return [r.float().cpu().numpy() for r in rows]
