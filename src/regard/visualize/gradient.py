"""What a detection rests on: its score, differentiated by the output of any layer.

Grad-CAM (Selvaraju et al., 1610.02391, equations 1 and 2) with the score of one detection in the place of a class
score: alpha_c = mean over positions of dS / dA_c;  map = relu(sum_c alpha_c A_c).  Beside it gradient times
activation without any averaging, sum_c |dS / dA_c * A_c|, which keeps apart what Grad-CAM averages over the map.

S is objectness times class probability of one row of the decoded head, so the map belongs to one box.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from regard.boxes import cxcywh_to_xyxy
from regard.config import DetectSettings
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.nn.head import decode

PREDICT = DetectSettings()

Point = tuple[float, float]
"""x, y in pixels."""


@dataclass(frozen=True)
class GradientMap:
    """How the score of one detection depends on a layer's output.

    Attributes:
        cam: (H, W), Grad-CAM, 0 or more.
        product: (H, W), sum over channels of |gradient x activation|.
        box_xyxy: (4,), the detection's left, top, right, bottom in pixels of the input.
        score: of the detection, in 0..1.
        class_id: of the detection.
    """

    cam: Tensor
    product: Tensor
    box_xyxy: Tensor
    score: float
    class_id: int


def grad_cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return Grad-CAM: (..., C, H, W) twice -> (..., H, W)."""
    alpha = gradient.mean((-2, -1), keepdim=True)
    return (alpha * activation).sum(-3).relu()


def gradient_product(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return the sum over channels of |gradient x activation|: (..., C, H, W) twice -> (..., H, W)."""
    return (gradient * activation).abs().sum(-3)


def choose_detection(
    boxes_cxcywh: Tensor,
    scores: Tensor,
    *,
    point: Point | None = None,
    class_id: int | None = None,
    settings: DetectSettings = PREDICT,
) -> tuple[int, int]:
    """Return row and class of the detection to look at.

    The candidates are what non-maximum suppression leaves; where nothing scores above ``settings.conf``, the one best
    row, so that an untrained detector can be looked at too.

    Args:
        boxes_cxcywh: (N, 4), the predictions for one image.
        scores: (N, nc), their class scores.
        point: x, y in input pixels; the candidate whose box is nearest to it is chosen, of several whose box holds it
            the one whose centre is nearest. The best scored candidate if None.
        class_id: consider scores of this class alone.
        settings: thresholds of score and overlap.
    """
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
    """Return how the score of one detection depends on what ``layer`` puts out; ``detector`` is left as it was.

    Args:
        detector: the network; it runs in evaluation mode.
        images: (1, 3, H, W) RGB in 0..1.
        layer: one of the detector's layers, with one map (B, C, H, W) as its output.
        point: see ``choose_detection``.
        class_id: see ``choose_detection``.

    Raises:
        RegardError: the layer has no map to look at, or the detection does not depend on it.
    """
    with _recorded(detector, layer) as outputs:
        boxes, scores = (x[0] for x in decode(detector.raw(images), detector.head.anchors, detector.strides))
        row, chosen_class = choose_detection(boxes.detach(), scores.detach(), point=point, class_id=class_id)
        score = scores[row, chosen_class]
        if not outputs:
            raise RegardError("a layer without one map as its output has no gradient map", expected="any other layer")
        (gradient,) = torch.autograd.grad(score, outputs[-1], allow_unused=True)
    if gradient is None or not gradient.any():
        raise RegardError(
            f"the detection of score {score:.2f} does not depend on this layer",
            expected="a layer on the way to the level that found it",
            hint=f"it was found at stride {_stride_of(row, detector, images)}",
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
    """Give the list of maps that ``layer`` puts out; each begins a new graph, so only what follows is differentiated.

    That needs no gradient of any weight, and works for frozen ones too.
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
    """Return the index of the box of (n, 4) with the least distance to ``point``, then with the nearest centre."""
    at = boxes.new_tensor(point)
    outside = torch.maximum(boxes[:, :2] - at, at - boxes[:, 2:]).clamp(min=0).norm(dim=1)
    to_centre = ((boxes[:, :2] + boxes[:, 2:]) / 2 - at).norm(dim=1)
    return min(range(len(boxes)), key=lambda i: (float(outside[i]), float(to_centre[i])))


def _stride_of(row: int, detector: Detector, images: Tensor) -> int:
    """Return the stride of the level that a decoded row comes from."""
    height, width = images.shape[2:]
    for stride in detector.strides:
        row -= detector.head.anchors_per_cell * (height // stride) * (width // stride)
        if row < 0:
            return stride
    raise AssertionError("more rows than the levels have")
