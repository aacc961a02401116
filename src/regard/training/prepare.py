"""Preparing a detector for a data set: its classes, its head, and the layers that do not learn."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from regard.config import TrainSettings
from regard.data.dataset import DetectionDataset, Sample
from regard.data.formats import load_data
from regard.data.images import image_size
from regard.data.problems import drop_unreadable, report_problems
from regard.data.split import divide
from regard.errors import RegardError, nearest
from regard.graph.detector import Detector
from regard.weights.detector import replace_classes
from regard.weights.transfer import TransferReport

log = logging.getLogger("regard.training")


def fit_classes(detector: Detector, data: DetectionDataset) -> tuple[Detector, TransferReport | None]:
    """Adapt a detector to the classes of ``data``: unchanged if it has them, otherwise a copy with a new head."""
    names = dict(enumerate(data.names))
    if detector.names == names:
        return detector, None
    return replace_classes(detector, names)


def load_training_data(source: str | Path, settings: TrainSettings) -> DetectionDataset:
    """Load the data of a training: unreadable images are left out, val is chosen if none is named, problems are logged.

    Raises:
        RegardError: the data cannot be read, have no train split or no boxes in it.
    """
    data = load_data(source, single_cls=settings.single_cls, classes=settings.classes, first_class=settings.first_class)
    data = divide(drop_unreadable(data), settings.val_fraction, settings.split_seed)
    report_problems(data)
    _, validated = validation_split(data)
    if not _boxes(data.splits["train"]):
        raise RegardError("train has no boxes", file=data.source, expected="labelled objects")
    if not _boxes(validated):
        log.warning("val has no boxes: training does not stop early, and its last epoch counts as the best")
    return data


def _boxes(samples: Sequence[Sample]) -> int:
    return sum(len(sample.class_ids) for sample in samples)


def fit_head(detector: Detector, samples: Sequence[Sample], settings: TrainSettings) -> str | None:
    """Let the head of ``detector`` adapt to the boxes of ``samples``; see `regard.nn.heads.Head.fit_to`."""
    sizes = box_sizes(samples, settings.imgsz)
    return detector.head.fit_to(sizes, settings=settings.recipe.loss, seed=settings.seed)


def class_weights(samples: Sequence[Sample], classes: int, power: float) -> list[float] | None:
    """Weight classes by (1 / number of boxes) ** power, with mean 1; None for power 0, which weights all alike.

    A class without boxes has the mean of the others.
    """
    if not power:
        return None
    counts = np.zeros(classes)
    for sample in samples:
        own = sample.class_ids if sample.crowd is None else sample.class_ids[~sample.crowd]
        counts += np.bincount(own, minlength=classes)
    seen = counts > 0
    weights = np.where(seen, counts, 1.0) ** -power
    weights[~seen] = weights[seen].mean() if seen.any() else 1.0
    found: list[float] = (weights / weights.mean()).tolist()
    return found


def validation_split(data: DetectionDataset) -> tuple[str, Sequence[Sample]]:
    """Choose the split that training is validated on; its name and samples are returned.

    Raises:
        RegardError: there is no training split, or nothing to validate on.
    """
    for name in ("train", "val"):
        if not data.splits.get(name):
            raise RegardError(
                f"the data set has no {name} images",
                file=data.source,
                expected="splits train and val; this one has " + (", ".join(data.splits) or "none"),
            )
    return "val", data.splits["val"]


def freeze(detector: Detector, names: Sequence[str]) -> list[str]:
    """Stop layers from learning and return their names.

    Args:
        detector: changed in place.
        names: names of layers; "backbone" for all of it; a number for so many first layers, as in YOLOv5.

    Raises:
        RegardError: no such layer; the nearest name is suggested.
    """
    rows = detector.spec.layers
    known = [row.name for row in rows]
    frozen: list[str] = []
    for name in names:
        if name == "backbone":
            frozen += [row.name for row in rows if not row.head]
        elif name.isdigit():
            frozen += known[: int(name)]
        elif name in known:
            frozen.append(name)
        else:
            expected = "a layer, 'backbone', or a number of first layers"
            raise RegardError(f"cannot freeze {name!r}", expected=expected, hint=nearest(name, [*known, "backbone"]))
    for name in frozen:
        detector.layer(name).requires_grad_(False)
    if not any(p.requires_grad for p in detector.parameters()):
        raise RegardError("every layer is frozen, so nothing can learn")
    return frozen


def freeze_bn_stats(detector: Detector, everywhere: bool) -> None:
    """Keep batch norm from updating its statistics, in frozen layers or ``everywhere``; call after ``train()``."""
    for norm in _batch_norms(detector):
        if everywhere or (norm.weight is not None and not norm.weight.requires_grad):
            norm.eval()


def _batch_norms(detector: Detector) -> Iterator[nn.modules.batchnorm._BatchNorm]:
    return (m for m in detector.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))


def box_sizes(records: Sequence[Sample], imgsz: int) -> NDArray[np.float64]:
    """Width and height (N, 2) of every box in pixels if the long side of its image is ``imgsz``."""
    sizes = [np.empty((0, 2))]
    for record in records:
        height, width = image_size(record.image)
        sizes.append(record.boxes_cxcywh[:, 2:] * (np.array([width, height]) * imgsz / max(height, width)))
    return np.concatenate(sizes)
