"""Non-maximum suppression as part of an exported graph, for a batch of any size; the settings become constants.

The detections are those of ``regard.geometry.nms.suppress``, except that its limit on candidates does not apply.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from regard.config import DetectSettings
from regard.geometry.boxes import cxcywh_to_xyxy
from regard.graph.detector import Detector

Select: TypeAlias = Callable[[Tensor, Tensor, float, float], Tensor]
"""(boxes (B, N, 4), scores (B, G, N), iou, conf) -> (K, 3) int64: image, group and box of each box kept."""


class WithNMS(nn.Module):
    """A detector with NMS behind it.

    Args:
        detector: gives boxes and class scores.
        settings: thresholds and limits.
        select: `select_boxes`, or the operator that replaces it in ONNX.
    """

    wanted: Tensor

    def __init__(self, detector: Detector, settings: DetectSettings, select: Select) -> None:
        super().__init__()
        import_module("torchvision.ops")  # before anything is traced: importing it calls operators
        self.detector, self.settings, self.select = detector, settings, select
        wanted = [float(not settings.classes or i in settings.classes) for i in range(detector.nc)]
        self.register_buffer("wanted", torch.tensor(wanted))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detect objects.

        Args:
            images: (B, 3, H, W) float RGB in 0..1.

        Returns:
            (M, 7): image index, left, top, right, bottom in input pixels, score, class index; by image, then best
            score first. And all boxes (B, N, 4) and class scores (B, N, nc), for other thresholds.
        """
        predictions = self.detector(images)
        return self._detections(*predictions), *predictions

    def _detections(self, boxes_cxcywh: Tensor, scores: Tensor) -> Tensor:
        has_area = (boxes_cxcywh[..., 2:] > 0).all(2, keepdim=True)  # distances to the sides may be negative
        boxes, scores = cxcywh_to_xyxy(boxes_cxcywh), self._kept_scores(scores * has_area)
        if self.settings.agnostic_nms:
            best, class_of = scores.max(1)
            image, _, box = self.select(boxes, best[:, None], self.settings.iou, self.settings.conf).unbind(1)
            class_id = class_of[image, box]
        else:
            image, class_id, box = self.select(boxes, scores, self.settings.iou, self.settings.conf).unbind(1)
        kept = scores[image, class_id, box]
        columns = (image[:, None].float(), boxes[image, box], kept[:, None], class_id[:, None].float())
        order = best_of_each_image(image, kept, boxes.shape[0], self.settings.max_det)
        return torch.cat(columns, 1)[order]

    def _kept_scores(self, scores: Tensor) -> Tensor:
        """(B, N, nc) -> (B, nc, N), 0 for the classes that are left out for a box."""
        scores = scores.transpose(1, 2)
        if not self.settings.multi_label:
            classes = torch.arange(scores.shape[1], device=scores.device).view(1, -1, 1)
            scores = torch.where(classes == scores.argmax(1, keepdim=True), scores, 0.0)
        return scores * self.wanted.view(1, -1, 1) if self.settings.classes else scores


def best_of_each_image(image: Tensor, scores: Tensor, images: int, limit: int) -> Tensor:
    """Find the ``limit`` best scored entries of each image: their indices, by image, then best first.

    Args:
        image: (K,) int64, in 0..images - 1.
        scores: (K,).
        images: how many there are; some may have no entry.
        limit: at most this many of each.
    """
    best_first = scores.sort(descending=True).indices
    image = image[best_first]
    position = torch.arange(image.shape[0], device=image.device)
    by_image = (image * image.shape[0] + position).sort().indices  # unique keys, as ONNX has no stable sort
    image = image[by_image]
    count = (image[:, None] == torch.arange(images, device=image.device)).sum(0)  # (images,)
    rank = position - (count.cumsum(0) - count)[image]
    return best_first[by_image][rank < limit]


def select_boxes(boxes: Tensor, scores: Tensor, iou: float, conf: float) -> Tensor:
    """Suppress within each group of each image; see `Select`.

    Groups are kept apart by moving them away from each other, in float64: in float32 the boxes of the last of 16
    images with 80 classes would be rounded to a sixteenth of a pixel.
    """
    from torchvision.ops import nms  # not at the top: it takes as long to import as torch

    image, group, box = (scores > conf).nonzero().unbind(1)
    candidates = boxes[image, box].double()
    spread = (boxes.amax() - boxes.amin() + 1).double()
    offset = (image * scores.shape[1] + group) * spread
    keep = nms(candidates + offset[:, None], scores[image, group, box].double(), iou)
    return torch.stack((image, group, box), 1)[keep]


@torch.library.custom_op("regard::select_boxes", mutates_args=())
def select_boxes_operator(boxes: Tensor, scores: Tensor, iou: float, conf: float) -> Tensor:
    """`select_boxes` as one operator, which ONNX has too: it need not be decomposed to be exported."""
    return select_boxes(boxes, scores, iou, conf)


@select_boxes_operator.register_fake
def _(boxes: Tensor, scores: Tensor, iou: float, conf: float) -> Tensor:  # noqa: ARG001 - the operator's signature
    return boxes.new_empty((torch.library.get_ctx().new_dynamic_size(), 3), dtype=torch.int64)


def select_boxes_onnx(boxes: Any, scores: Any, iou: float, conf: float) -> Any:
    """Write `select_boxes` as ONNX's NonMaxSuppression, which keeps images and groups apart by itself."""
    import onnxscript

    op: Any = onnxscript.opset18  # its annotations leave out what its own constants return
    return op.NonMaxSuppression(
        boxes,
        scores,
        op.Constant(value_ints=[2**31 - 1]),  # no limit within a class
        op.Constant(value_floats=[iou]),
        op.Constant(value_floats=[conf]),
    )
