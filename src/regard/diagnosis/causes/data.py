"""Causes in the data set: order of the classes, labels that are not used, images in several splits."""

from __future__ import annotations

from collections.abc import Sequence

from regard.data.check import overlaps
from regard.data.dataset import Problem
from regard.data.problems import problem_lines
from regard.diagnosis.case import Case
from regard.diagnosis.findings import Finding, NotChecked

MOST_LOST = 0.01
"""Fraction of the labels that may be wrong."""
MOST_COPIES = 0.01
"""Fraction of the images of val and test that may be copies."""
INFLATED = "scores are too high; without them AP falls, which is no fault of the model: split the data by scene again"


def class_order(case: Case) -> Finding | None:
    """Classes that have other ids in the data set than in the trained model."""
    now = case.dataset.names
    then = case.run.data_names or (tuple(case.detector.names.values()) if case.run.weights else ())
    if not then or then == tuple(f"class{i}" for i in range(len(then))):
        raise NotChecked("the run does not state its class names")
    if now == then or sorted(now) != sorted(then):
        return None
    moved = [i for i, (a, b) in enumerate(zip(then, now, strict=True)) if a != b]
    evidence = (
        f"the model has {then[moved[0]]!r} as class {moved[0]}, the data set {now[moved[0]]!r}; {len(moved)} of "
        f"{len(now)} classes have other ids"
    )
    advice = "put the names in data.yaml in the order of the label files, and train or evaluate again"
    return Finding("class_order", "likely", evidence, advice)


def labels(case: Case) -> Finding | None:
    """Labels and images that are not used, such as boxes of classes out of range."""
    data = case.dataset
    lost = [problem for problem in data.problems if problem.lost]
    if case.images:
        lost += [p for p in case.report.problems if p.lost and p not in lost]
    total = sum(len(sample.class_ids) for samples in data.splits.values() for sample in samples) + len(lost)
    kinds = {problem.kind for problem in lost}
    whole = kinds & {"ids from 1", "corners instead of centre and size"}  # one problem for all labels of the set
    if not whole and len(lost) <= MOST_LOST * total:
        return None
    evidence = f"{len(lost):,} of {total:,} labels are not used: {'; '.join(problem_lines(lost)[:2])}"
    return Finding("labels", "likely", evidence, f"correct the labels: regard data check {data.source} lists all")


def same_images(case: Case) -> Finding | None:
    """Images that are in train and in val."""
    return _across("same_images", overlaps(case.dataset), "likely", "score on images that were not trained on")


def duplicates(case: Case) -> Finding | None:
    """Files of one split with the content of files in another one."""
    found = [p for p in case.report.problems if p.kind == "duplicate image between splits"]
    return _copies(case, "duplicates", found)


def near_duplicates(case: Case) -> Finding | None:
    """Images of one split that look like images of another one, such as frames of one film."""
    found = [p for p in case.report.problems if p.kind == "near-duplicate between splits"]
    return _copies(case, "near_duplicates", found)


def _copies(case: Case, cause: str, found: Sequence[Problem]) -> Finding | None:
    held_out = sum(len(samples) for split, samples in case.dataset.splits.items() if split != "train")
    return _across(cause, found, "possible", INFLATED) if len(found) > MOST_COPIES * held_out else None


def _across(cause: str, found: Sequence[Problem], weight: str, advice: str) -> Finding | None:
    if not found:
        return None
    assert weight in ("likely", "possible")
    return Finding(cause, "likely" if weight == "likely" else "possible", problem_lines(found)[0], advice)
