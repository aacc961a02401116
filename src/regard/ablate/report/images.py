"""The val images on which a variant and the base differ most, drawn with their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.ablate.data import image_sizes, read_detections
from regard.ablate.folder import VAL, StudyRecord
from regard.ablate.report.document import Block, Details, Image, Images, Section, Text
from regard.ablate.verdict import differences, names_of
from regard.data.dataset import Sample
from regard.drawing import class_colour, draw_boxes, encode_image
from regard.evaluation.coco import pixel_boxes
from regard.evaluation.matching import confusion_matrix
from regard.types import Detections

CONFIDENCE = 0.25
LONG_SIDE = 320
"""Pixels of a thumbnail."""
LETTERS = 9.0
EACH = 2
"""Images that became better, and as many that became worse, for each variant."""
QUALITY = 80

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Count:
    """In one image: labelled boxes that are detected correctly, and wrong detections."""

    right: int
    wrong: int


def changed_section(study: StudyRecord, samples: Sequence[Sample], names: Sequence[str]) -> Section:
    """The images that changed most for every variant, those that improved first."""
    sizes = image_sizes(samples)
    blocks: list[Block] = [
        Text(
            f"Counted at confidence {CONFIDENCE} and IoU 0.5: correctly detected boxes minus wrong detections. Images "
            "are chosen by the mean over paired seeds, and drawn for the seed with the greatest change. They are "
            "extremes: they show what changed, not how often."
        )
    ]
    first = True
    for variant in sorted(names_of(study, "variant"), key=lambda name: -_amount(study, name)):
        shown = _of_variant(study, variant, samples, sizes, names)
        blocks += shown if first or not shown else [Details(f"{variant}: {len(shown)} images", shown)]
        first = first and not shown
    return Section("Images that changed most", blocks)


def _of_variant(
    study: StudyRecord, variant: str, samples: Sequence[Sample], sizes: Sequence[tuple[int, int]], names: Sequence[str]
) -> list[Block]:
    runs = [(study.finished(study.base.name).get(seed), study.finished(variant).get(seed)) for seed in study.seeds]
    pairs = [(a, b) for a, b in runs if a and b and (a.folder / VAL).is_file() and (b.folder / VAL).is_file()]
    found = [(read_detections(a, sizes, names), read_detections(b, sizes, names)) for a, b in pairs]
    if not found:
        return []
    counts = [tuple(_counts(side, samples, len(names)) for side in both) for both in found]
    change = np.array(
        [[(b.right - b.wrong) - (a.right - a.wrong) for a, b in zip(*both, strict=True)] for both in counts]
    )
    blocks: list[Block] = []
    order = np.argsort(change.mean(axis=0), kind="stable")
    for index in [*order[::-1][:EACH], *order[:EACH][::-1]]:
        mean = change[:, index].mean()
        if mean == 0:
            continue
        seed = int((change[:, index] * np.sign(mean)).argmax())
        before, after = (side[index] for side in counts[seed])
        caption = (
            f"{variant}, {samples[index].image.name}: {_signed(mean)} on average over {len(pairs)} seeds. Seed "
            f"{pairs[seed][0].seed}: correct {before.right} to {after.right} of {len(samples[index].class_ids)}, "
            f"wrong {before.wrong} to {after.wrong}."
        )
        drawn = _drawn(samples[index], [side[index] for side in found[seed]], names)
        titles = ("labelled", study.base.name, variant)
        blocks.append(Images(caption, [Image(*p) for p in zip(titles, drawn, strict=True)]))
    return blocks


def _amount(study: StudyRecord, variant: str) -> float:
    """Mean absolute difference from the base; the variant that differs most is shown first."""
    found = list(differences(study, variant, study.base.name).values())
    return abs(sum(found) / len(found)) if found else 0.0


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _counts(found: Sequence[Detections], samples: Sequence[Sample], classes: int) -> list[Count]:
    counts = []
    for detections, sample in zip(found, samples, strict=True):
        table = confusion_matrix([detections], [sample], classes)
        right = int(np.trace(table[:classes, :classes]))
        counts.append(Count(right, int(table[:, :classes].sum()) - right))
    return counts


def _drawn(sample: Sample, found: Sequence[Detections], names: Sequence[str]) -> list[bytes]:
    image = sample.image.read()
    factor = LONG_SIDE / max(image.shape[:2])
    size = (max(round(image.shape[1] * factor), 1), max(round(image.shape[0] * factor), 1))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, size, interpolation=way), dtype=np.uint8)
    labels = pixel_boxes(sample, (image.shape[0], image.shape[1])) * factor
    drawn = [_with_boxes(small, labels, sample.class_ids, [names[c] for c in sample.class_ids])]
    for detections in found:
        sure = detections.scores >= CONFIDENCE
        ids, scores = detections.class_ids[sure], detections.scores[sure]
        captions = [f"{names[c]} {score:.2f}" for c, score in zip(ids, scores, strict=True)]
        drawn.append(_with_boxes(small, detections.boxes_xyxy[sure] * factor, ids, captions))
    return [encode_image(image, ".jpg", QUALITY) for image in drawn]


def _with_boxes(
    image: Pixels, boxes: NDArray[np.floating], class_ids: NDArray[np.int64], captions: Sequence[str]
) -> Pixels:
    return draw_boxes(image, boxes, captions, [class_colour(int(c)) for c in class_ids], letter_height=LETTERS)
