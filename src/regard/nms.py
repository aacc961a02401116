"""Non-maximum suppression: from decoded rows to detections.

Greedy suppression as in every detector since Felzenszwalb et al. (2010): of the boxes that overlap by more than the
threshold, the best scored one stays. Here the score is objectness times class probability. There is no time limit,
so the answer does not depend on the machine.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from regard.boxes import cxcywh_to_xyxy
from regard.config import DetectSettings

MAX_CANDIDATES = 30_000
"""At most this many boxes of an image, the best scored ones, enter suppression."""


def suppress(decoded: Tensor, settings: DetectSettings) -> list[Tensor]:
    """Return the detections of each image, best score first.

    With ``settings.multi_label`` a box stands once for every class that scores above ``conf``, otherwise only for its
    best class. ``settings.classes`` then drops the others, so a box whose best class is not wanted is gone.

    Args:
        decoded: (B, N, 5 + classes): centre x, centre y, width, height, objectness, class probabilities.
        settings: thresholds and limits.

    Returns:
        For each image (n, 6) float32: left, top, right, bottom in the units of ``decoded``, score, class index.
    """
    return [_suppress_image(rows, settings) for rows in decoded]


def _suppress_image(rows: Tensor, settings: DetectSettings) -> Tensor:
    boxes, scores, class_ids = _candidates(rows, settings)
    if not len(scores):
        return torch.zeros((0, 6), device=rows.device)
    # batched_nms keeps classes apart by moving them to the right of each other, which needs coordinates >= 0.
    groups = torch.zeros_like(class_ids) if settings.agnostic_nms else class_ids
    keep = batched_nms(boxes - boxes.min(), scores, groups, settings.iou)[: settings.max_det]
    return torch.cat([boxes[keep], scores[keep, None], class_ids[keep, None].float()], dim=1)


def _candidates(rows: Tensor, settings: DetectSettings) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes (n, 4), scores (n,) and classes (n,) of all that scores above the threshold."""
    rows = rows[rows[:, 4] > settings.conf].float()  # cheap and lossless: no class can score above objectness
    all_scores = rows[:, 4:5] * rows[:, 5:]
    if settings.multi_label:
        index, class_ids = (all_scores > settings.conf).nonzero(as_tuple=True)
    else:
        best, class_ids = all_scores.max(dim=1)
        index = (best > settings.conf).nonzero()[:, 0]
        class_ids = class_ids[index]
    if settings.classes:
        wanted = torch.isin(class_ids, torch.tensor(settings.classes, device=class_ids.device))
        index, class_ids = index[wanted], class_ids[wanted]
    scores = all_scores[index, class_ids]
    if len(scores) > MAX_CANDIDATES:
        best_first = scores.argsort(descending=True, stable=True)[:MAX_CANDIDATES]
        index, class_ids, scores = index[best_first], class_ids[best_first], scores[best_first]
    return cxcywh_to_xyxy(rows[index, :4]), scores, class_ids
