"""Gradient maps: the score of one detection, differentiated with respect to the output of any layer.

Grad-CAM (Selvaraju et al., arXiv 1610.02391, equations 1 and 2) is computed for the score S of one detection instead of
a class score: alpha_c = mean over positions of dS / dA_c;  map = relu(sum_c alpha_c A_c).  In addition, gradient times
activation is computed without averaging, sum_c |dS / dA_c * A_c|, which separates positions that Grad-CAM averages.

S is the class score of one prediction, so the map belongs to one box.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regard.config import DetectSettings
from regard.errors import RegardError
from regard.geometry.boxes import cxcywh_to_xyxy
from regard.graph.detector import Detector

PREDICT = DetectSettings()

Point = tuple[float, float]
"""x, y in pixels."""


@dataclass(frozen=True)
class GradientMap:
    """Dependence of the score of one detection on the output of a layer.

    Attributes:
        cam: (H, W), Grad-CAM, 0 or more.
        product: (H, W), sum over channels of |gradient x activation|.
        box_xyxy: (4,), the detection's left, top, right, bottom in pixels of the input.
        score: score of the detection, 0 to 1.
        class_id: class of the detection.
    """

    cam: Tensor
    product: Tensor
    box_xyxy: Tensor
    score: float
    class_id: int


def grad_cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Compute Grad-CAM, (..., H, W), from an activation and its gradient, both (..., C, H, W)."""
    alpha = gradient.mean((-2, -1), keepdim=True)
    return (alpha * activation).sum(-3).relu()


def gradient_product(activation: Tensor, gradient: Tensor) -> Tensor:
    """Sum |gradient x activation|, both (..., C, H, W), over channels to (..., H, W)."""
    return (gradient * activation).abs().sum(-3)


def choose_detection(
    boxes_cxcywh: Tensor,
    scores: Tensor,
    *,
    point: Point | None = None,
    class_id: int | None = None,
    settings: DetectSettings = PREDICT,
) -> tuple[int, int]:
    """Choose the detection to explain: its position among the predictions, and its class.

    Candidates are the detections after non-maximum suppression. If no score is above ``settings.conf``, the prediction
    of the highest score is the only candidate, so that an untrained detector can be examined as well.

    Args:
        boxes_cxcywh: (N, 4), the predictions for one image.
        scores: (N, nc), their class scores.
        point: x, y in input pixels: choose the candidate with the nearest box and, if several boxes contain the point,
            the nearest centre. If None, choose the candidate with the highest score.
        class_id: consider only scores of this class.
        settings: thresholds for score and overlap.

    Example:
        >>> boxes = torch.tensor([[20.0, 20, 10, 10], [60, 60, 10, 10]])
        >>> choose_detection(boxes, torch.tensor([[0.9], [0.8]]), point=(58, 61))
        (1, 0)
    """
    from torchvision.ops import batched_nms  # not at the top: it takes as long to import as torch

    best, classes = (
        scores.max(1) if class_id is None else (scores[:, class_id], scores.new_full((len(scores),), class_id))
    )
    boxes = cxcywh_to_xyxy(boxes_cxcywh)
    kept = (best > settings.conf).nonzero()[:, 0]
    if not len(kept):
        kept = best.argmax()[None]
    kept = kept[batched_nms(boxes[kept] - boxes.min(), best[kept], classes[kept], settings.iou)]
    chosen = 0 if point is None else _nearest(boxes[kept], point)
    row = int(kept[chosen])
    return row, int(classes[row])


def gradient_map(
    detector: Detector,
    images: Tensor,
    layer: nn.Module,
    *,
    point: Point | None = None,
    class_id: int | None = None,
) -> GradientMap:
    """Differentiate the score of one detection with respect to the output of ``layer``.

    Args:
        detector: the network; it runs in evaluation mode, its mode and weights do not change.
        images: (1, 3, H, W) RGB in 0..1.
        layer: one of the detector's layers, with one map (B, C, H, W) as its output.
        point: see ``choose_detection``.
        class_id: see ``choose_detection``.

    Raises:
        RegardError: the output of the layer is not a single map, or the detection does not depend on it.
    """
    with _recorded(detector, layer) as outputs:
        boxes, scores = (x[0] for x in detector.head.decode(detector.raw(images)))
        row, chosen_class = choose_detection(boxes.detach(), scores.detach(), point=point, class_id=class_id)
        score = scores[row, chosen_class]
        if not outputs:
            raise RegardError(
                "there is no gradient map for a layer whose output is not a single map", expected="any other layer"
            )
        (gradient,) = torch.autograd.grad(score, outputs[-1], allow_unused=True)
    if gradient is None or not gradient.any():
        raise RegardError(
            f"the detection of score {score:.2f} does not depend on this layer",
            expected="a layer on the path to the level of the detection",
            hint=f"the detection is from the level of stride {_stride_of(row, len(boxes), detector, images)}",
        )
    activation, gradient = outputs[-1].detach().float(), gradient.float()
    return GradientMap(
        cam=grad_cam(activation, gradient)[0].cpu(),
        product=gradient_product(activation, gradient)[0].cpu(),
        box_xyxy=cxcywh_to_xyxy(boxes[row].detach()).cpu(),
        score=float(score.detach()),
        class_id=chosen_class,
    )


@contextmanager
def evaluating(detector: Detector) -> Iterator[None]:
    """Set evaluation mode inside the block and restore the previous mode after it."""
    was_training = detector.training
    detector.eval()
    try:
        yield
    finally:
        detector.train(was_training)


@contextmanager
def _recorded(detector: Detector, layer: nn.Module) -> Iterator[list[Tensor]]:
    """Record the outputs of ``layer``; each starts a new autograd graph, so only later layers are differentiated.

    No weight needs a gradient for this, so it works for frozen layers as well.
    """
    outputs: list[Tensor] = []

    def hook(_: nn.Module, __: Any, output: Any) -> Tensor | None:
        if not isinstance(output, Tensor):
            return None
        outputs.append(output.detach().requires_grad_())
        return outputs[-1]

    handle = layer.register_forward_hook(hook)
    try:
        with evaluating(detector), torch.inference_mode(False), torch.enable_grad():
            yield outputs
    finally:
        handle.remove()


def _nearest(boxes: Tensor, point: Point) -> int:
    """Index of the (n, 4) box with the smallest distance to ``point`` and, among equals, the nearest centre."""
    at = boxes.new_tensor(point)
    outside = torch.maximum(boxes[:, :2] - at, at - boxes[:, 2:]).clamp(min=0).norm(dim=1)
    to_centre = ((boxes[:, :2] + boxes[:, 2:]) / 2 - at).norm(dim=1)
    return min(range(len(boxes)), key=lambda i: (float(outside[i]), float(to_centre[i])))


def _stride_of(index: int, boxes: int, detector: Detector, images: Tensor) -> int:
    """Stride of the level that one of all ``boxes`` predictions comes from."""
    height, width = images.shape[2:]
    cells = [(height // stride) * (width // stride) for stride in detector.strides]
    cell = index // (boxes // sum(cells))  # every level has the same number of boxes per cell
    ends = itertools.accumulate(cells)
    return next(stride for stride, end in zip(detector.strides, ends, strict=True) if cell < end)
