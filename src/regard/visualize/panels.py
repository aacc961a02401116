"""The maps that show what a layer attends to, as numbers: one panel per head and their average."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regard.types import AttentionMap, LetterboxTransform
from regard.visualize.gradient import GradientMap


@dataclass(frozen=True)
class Panel:
    """One map to draw: a heading, (H, W) values, and the values at both ends of the colour scale."""

    heading: str
    values: NDArray[np.floating]
    low: float
    high: float


def channels_of(found: AttentionMap | GradientMap) -> NDArray[np.floating] | None:
    """Weight of each channel, (C,), averaged over positions; None if there is no weight per channel."""
    if isinstance(found, GradientMap) or found.kind not in ("channel", "elements"):
        return None
    return np.asarray(found.weights[0].unsqueeze(1).flatten(1).mean(1).numpy())


def panels_of(found: AttentionMap | GradientMap) -> list[Panel]:
    """Maps to draw over the image, the average first; an empty list if only channels have weights."""
    if isinstance(found, GradientMap):
        products, cam = found.product.numpy(), found.cam.numpy()
        return [
            Panel("Grad-CAM", cam / max(cam.max(), 1e-30), 0.0, 1.0),
            Panel("|gradient x activation|", products / max(products.max(), 1e-30), 0.0, 1.0),
        ]
    if found.kind == "channel":
        return []
    if found.kind == "elements":
        values = found.weights[0].mean(0).numpy()
        return [Panel("mean over channels", values, float(values.min()), float(values.max()))]
    if found.kind == "spatial":
        values = found.weights[0].numpy()
        return [Panel("weight of each position", values, float(values.min()), float(values.max()))]
    heads = found.weights[0, :, 0].numpy()
    if len(heads) == 1:
        return [_weights("weights of the query", heads[0])]
    names = [f"head {i}" for i in range(1, len(heads) + 1)]
    if found.heads:
        names = [f"{name}, {kind}" for name, kind in zip(names, found.heads, strict=True)]
    each = [_weights(name, head) for name, head in zip(names, heads, strict=True)]
    return [_weights(f"mean of {len(heads)} heads", heads.mean(0)), *each]


def map_edges(placement: LetterboxTransform, input_size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Compute the edges of all maps: left, right, bottom, top in pixels of the original image.

    Maps cover the whole input, so the edges are outside the image where it was padded.
    """
    (scale_x, scale_y), (left, top) = placement.scale, placement.pad
    height, width = input_size
    return -left / scale_x, (width - left) / scale_x, (height - top) / scale_y, -top / scale_y


def _weights(heading: str, values: NDArray[np.floating]) -> Panel:
    return Panel(heading, values, min(0.0, float(values.min())), float(values.max()))
