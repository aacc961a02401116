"""Which images make a batch, and at what size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from regard.data.dataset import Sample
from regard.data.images import image_size
from regard.data.letterbox import aspect_order, validation_sizes


class BatchPlan(NamedTuple):
    """All that decides one batch; it travels to the process or thread that makes it.

    Attributes:
        indices: the images, in order.
        size: (height, width) of the input.
        epoch: counted from 0, part of the seed of every random draw.
        combine: whether mosaic and mixup may be drawn.
    """

    indices: tuple[int, ...]
    size: tuple[int, int]
    epoch: int = 0
    combine: bool = False


def aspect_batches(records: Sequence[Sample], imgsz: int, batch: int, stride: int, pad: float) -> list[BatchPlan]:
    """Batch images of like aspect ratio; ``pad`` is a margin in strides."""
    sizes = [image_size(record.image) for record in records]
    order = aspect_order(sizes).tolist()
    shapes = validation_sizes([sizes[i] for i in order], imgsz, batch, stride, pad)
    return [BatchPlan(tuple(order[k * batch : (k + 1) * batch]), shape) for k, shape in enumerate(shapes)]
