"""Values that are passed between packages: detections, predictions, targets, batches and attention maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from regard.detections import Detections
from regard.errors import RegardDeprecationWarning, warn
from regard.system.interrupts import interrupts_deferred
from regard.system.notebook import image_html, to_html

if TYPE_CHECKING:  # a compiled detector predicts without torch
    from torch import Tensor

__all__ = [
    "AttentionMap",
    "Batch",
    "Detections",
    "LetterboxTransform",
    "LetterboxedBatch",
    "Predictions",
    "Predictor",
    "Targets",
]


class Predictions(NamedTuple):
    """All boxes that a detector considers for a batch, before non-maximum suppression.

    Attributes:
        boxes: (B, N, 4) float32, centre x, centre y, width and height in input pixels.
        scores: (B, N, nc) float32 in 0..1, the score of each class; a head with an objectness has multiplied it in.

    Example:
        >>> import torch
        >>> predictions = Predictions(boxes=torch.zeros(1, 6300, 4), scores=torch.zeros(1, 6300, 80))
        >>> boxes, scores = predictions
        >>> scores.shape
        torch.Size([1, 6300, 80])
    """

    boxes: Tensor
    scores: Tensor

    @property
    def decoded(self) -> Tensor:
        """One tensor (B, N, 5 + nc), as `Detector` used to return it: boxes, an objectness of 1, class scores.

        Objectness times class probability remains the score, so code that multiplies the two finds the same
        detections. Deprecated: use ``boxes`` and ``scores``.
        """
        import torch

        warn("Predictions.decoded is deprecated: use boxes and scores", RegardDeprecationWarning)
        return torch.cat((self.boxes, torch.ones_like(self.boxes[..., :1]), self.scores), dim=-1)


@runtime_checkable
class Predictor(Protocol):
    """A detector that is ready to predict, on any runtime: a `Detector`, or an opened file.

    One that was opened to process several images at a time also has ``streams``: how many threads may call ``predict``.
    """

    @property
    def names(self) -> Mapping[int, str]:
        """Class names, by class index."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Input pixels per cell of each detection level."""

    @property
    def max_stride(self) -> int:
        """Number that the sides of the input must be multiples of, in pixels."""

    def predict(self, images: NDArray[np.uint8], conf: float) -> list[NDArray[np.float32]]:
        """Find candidates in each of (B, 3, H, W) RGB images: those with a class score above ``conf``.

        Returns:
            Per image (n, 4 + classes): centre x, centre y, width, height in input pixels, and class scores.
        """


@dataclass(frozen=True)
class Targets:
    """Labelled boxes of a batch, one row per box.

    Attributes:
        image_index: (T,) int64, the image of the batch that contains the box.
        class_ids: (T,) int64.
        boxes_cxcywh: (T, 4) float32, centre and size as fractions of the network's input.
    """

    image_index: Tensor
    class_ids: Tensor
    boxes_cxcywh: Tensor

    def __len__(self) -> int:
        return len(self.class_ids)

    def to(self, device: Any) -> Targets:
        """Copy the targets to another device."""
        moved = (t.to(device) for t in (self.image_index, self.class_ids, self.boxes_cxcywh))
        return Targets(*moved)


@dataclass(frozen=True)
class LetterboxTransform:
    """Transform from an original image to the network's input: multiplication by ``scale``, then addition of ``pad``.

    Attributes:
        image_size: (height, width) of the original image in pixels.
        scale: (x, y) input pixels per original pixel.
        pad: (left, top) in input pixels, unrounded.

    Example:
        >>> transform = LetterboxTransform(image_size=(100, 200), scale=(1.6, 1.6), pad=(0.0, 80.0))
        >>> x, y = (50 * s + p for s, p in zip(transform.scale, transform.pad))
        >>> x, y
        (80.0, 160.0)
    """

    image_size: tuple[int, int]
    scale: tuple[float, float]
    pad: tuple[float, float]


@dataclass(frozen=True)
class Batch:
    """A batch for training.

    Attributes:
        images: (B, 3, H, W) uint8, RGB.
        targets: the labelled boxes, in fractions of (W, H).
        indices: dataset index of each image, for looking up its sample.
        total_images: images of the whole batch, over all processes.
    """

    images: Tensor
    targets: Targets
    indices: tuple[int, ...]
    total_images: int


@dataclass(frozen=True)
class LetterboxedBatch:
    """A batch for validation.

    Attributes:
        images: (B, 3, H, W) uint8, RGB, channels last in memory, as decoded images are and convolutions are fastest.
        indices: index of each image in the data set.
        placements: transform of each image from its original size to the batch.
    """

    images: NDArray[np.uint8]
    indices: tuple[int, ...]
    placements: tuple[LetterboxTransform, ...]


@dataclass(frozen=True)
class AttentionMap:
    """Weights that an attention module used for one batch.

    Attributes:
        kind: "channel" (B, C), "spatial" (B, H, W), "elements" (B, C, H, W), a weight for each value of the map, or
            "rows" (B, heads, queries, H, W).
        weights: the tensor of that shape.
        queries: (row, column) of each queried position, for "rows".
        heads: what each head does, where they differ.
        dimensions: number of dimensions of ``weights`` for each kind.
    """

    dimensions: ClassVar[Mapping[str, int]] = {"channel": 2, "spatial": 3, "elements": 4, "rows": 5}

    kind: str
    weights: Tensor
    queries: tuple[tuple[int, int], ...] = ()
    heads: tuple[str, ...] = ()

    @interrupts_deferred()
    def _repr_png_(self) -> bytes | None:
        """Colour the weights of the first image, from the least to the greatest: a strip, a map, or a map per head.

        None where there is nothing to draw, or a weight is no number.
        """
        from regard.drawing import encode_image, heat_map

        if not self.weights.numel() or not self.weights.isfinite().all():
            return None
        values = self.weights[0].detach().float().cpu().numpy()
        if self.kind == "elements":
            values = values.mean(0)
        panels = values.reshape(-1, *values.shape[-2:]) if values.ndim > 1 else values[None, None]
        return encode_image(heat_map(panels), ".png")

    @interrupts_deferred()
    def _repr_html_(self) -> str:
        shape = " x ".join(map(str, self.weights.shape))
        numbers, text = self.weights[self.weights.isfinite()], f"{self.kind} attention of shape {shape}"
        if odd := self.weights.numel() - len(numbers):
            text += f", {odd:,} of {self.weights.numel():,} weights are NaN or infinite"
        if len(numbers):
            text += f", weights {numbers.min().item():.3g} to {numbers.max().item():.3g}"
        drawn = self._repr_png_()
        return to_html(text) + (image_html(drawn, "png", text) if drawn else "")


def __getattr__(name: str) -> Any:
    """Find a class by its former name."""
    former = {"Placement": "LetterboxTransform", "PlacedBatch": "LetterboxedBatch"}
    if name in former:
        warn(f"regard.types.{name} is now {former[name]}", RegardDeprecationWarning)
        return globals()[former[name]]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
