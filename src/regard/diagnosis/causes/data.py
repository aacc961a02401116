"""Causes in the data set: labels that are not used, images in several splits."""

from __future__ import annotations

from collections import Counter

from regard.data.check import also_in_train
from regard.data.dataset import DetectionDataset, NoLabelsError, Problem
from regard.data.problems import problem_lines
from regard.diagnosis.case import Case
from regard.diagnosis.findings import Finding, NotChecked

MOST_LOST = 0.01
"""Fraction of the labels that may be wrong."""
OF_ALL_LABELS = {
    "ids from 1",
    "corners instead of centre and size",
    "corners instead of corner and size",
    "upper left corner instead of centre",
}
"""Kinds of problems of which there is one for all labels of a data set."""
MOST_EMPTY = 0.25
"""Fraction of images without boxes that train may have more than val."""
MOST_COPIES = 0.01
"""Fraction of the images of val and test that may be copies."""
INFLATED = "scores are too high; without them AP falls, which is no fault of the model: split the data by scene again"


def labels(case: Case) -> Finding | None:
    """Labels that are missing or not used, such as boxes of classes out of range."""
    try:
        data = case.dataset
    except NotChecked as reason:
        if isinstance(error := reason.__cause__, NoLabelsError):
            return Finding("labels", "likely", error.what, f"put the labels there: {error.expected}")
        raise
    found = _lost(case, data) or _missing(data)
    return found or (None if case.halves is data else _missing(case.halves))


def _missing(data: DetectionDataset) -> Finding | None:
    """Splits without boxes, classes that were never trained, and a train split that is labelled only in part."""
    used = {name: samples for name, samples in data.splits.items() if name != "test" and samples}
    advice = f"add the label files, or correct their names and folders: regard data check {data.source}"
    for name, samples in used.items():
        if not any(len(sample.class_ids) for sample in samples):
            evidence = f"none of the {len(samples):,} images of {name} has a box"
            return Finding("labels", "likely", evidence, advice)
    if not {"train", "val"} <= used.keys():
        return None
    train, val = used["train"], used["val"]
    known = {int(class_id) for sample in train for class_id in sample.class_ids}
    asked = Counter(int(class_id) for sample in val for class_id in sample.class_ids)
    unseen = [class_id for class_id in sorted(asked) if class_id not in known]
    if unseen and sum(asked[class_id] for class_id in unseen) > MOST_LOST * asked.total():
        evidence = (
            f"no training image has a box of {data.names[unseen[0]]!r}, of which val has {asked[unseen[0]]:,}; "
            f"classes of val that were never trained: {len(unseen)} of {len(asked)}"
        )
        return Finding("labels", "likely", evidence, "label these classes in train, or remove them from val")
    empty = [sum(not len(sample.class_ids) for sample in samples) for samples in (train, val)]
    if empty[0] / len(train) <= MOST_EMPTY + empty[1] / len(val):
        return None
    evidence = f"{empty[0]:,} of {len(train):,} images of train have no box, but {empty[1]:,} of {len(val):,} of val"
    return Finding("labels", "possible", evidence, f"objects without a label are trained as background: {advice}")


def _lost(case: Case, data: DetectionDataset) -> Finding | None:
    lost = [problem for problem in data.problems if problem.lost]
    if case.images:
        lost += [p for p in case.report.problems if p.lost and p not in lost]
    total = sum(len(sample.class_ids) for samples in data.splits.values() for sample in samples) + len(lost)
    kinds = {problem.kind for problem in lost}
    whole = kinds & OF_ALL_LABELS
    if not whole and len(lost) <= MOST_LOST * total:
        return None
    advice = f"correct the labels: regard data check {data.source} lists all"
    if whole:
        return Finding("labels", "likely", problem_lines(p for p in lost if p.kind in whole)[0], advice)
    evidence = f"{len(lost):,} of {total:,} labels are not used: {problem_lines(lost)[0]}"
    return Finding("labels", "likely", evidence, advice)


def same_images(case: Case) -> Finding | None:
    """Images that are in train and in val or test."""
    found = [f"{count} images of {split} are also in train" for split, count in also_in_train(case.halves).items()]
    if not found:
        return None
    evidence = "; ".join(found)
    return Finding("same_images", "likely", evidence, "score on images that were not trained on")


def duplicates(case: Case) -> Finding | None:
    """Files of one split with the content of files in another one."""
    found = _between_splits(case, "duplicate image between splits")
    if not found:
        return None
    first, place = found[0], found[0].place.rpartition(" in ")[0]
    evidence = f"{len(found):,} images are copies of images of another split, such as {place}: {first.found}"
    return Finding("duplicates", "possible", evidence, INFLATED)


def near_duplicates(case: Case) -> Finding | None:
    """Images of one split that look like images of another one, such as frames of one film."""
    found = _between_splits(case, "near-duplicate between splits")
    if not found:
        return None
    first, place = found[0], found[0].place.rpartition(" in ")[0]
    evidence = f"{len(found):,} images look like images of another split, such as {place}: {first.found}"
    return Finding("near_duplicates", "possible", evidence, INFLATED)


def _between_splits(case: Case, kind: str) -> list[Problem]:
    """Problems of a kind of images in train and in others, if they concern many."""
    held_out = sum(len(samples) for split, samples in case.halves.splits.items() if split != "train")
    found = [problem for problem in case.report.problems if problem.kind == kind and _concerns_train(problem)]
    return found if len(found) > MOST_COPIES * held_out else []


def _concerns_train(problem: Problem) -> bool:
    return "train" in (text.rpartition(" in ")[2] for text in (problem.place, problem.found))
