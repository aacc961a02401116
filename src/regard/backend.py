"""What prediction and evaluation ask of a detector, whether it is a PyTorch module or an exported file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class Backend(Protocol):
    """A detector that is ready to be asked.

    An exported file with NMS inside takes part by returning its detections as decoded rows: the score as objectness
    and a one-hot class. Suppressing those again with the same settings changes nothing.
    """

    @property
    def names(self) -> Mapping[int, str]:
        """Class names, by class index."""

    @property
    def max_stride(self) -> int:
        """The number that the sides of the input must be multiples of, in pixels."""

    def __call__(self, images: Tensor, /) -> Tensor:
        """Map (B, 3, H, W) RGB in 0..1 to decoded rows (B, N, 5 + classes).

        A row holds centre x, centre y, width and height in input pixels, objectness, and class probabilities.
        """


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
            decoded = self.backend(as_input(torch.from_numpy(images), self.backend))
            return [rows[rows[:, 4] > conf].float().cpu().numpy() for rows in decoded]
