"""Classes in another order: in the names of the data set, or in the labels of val."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from regard.data.dataset import folded_name
from regard.data.formats.yolo import SUFFIXES
from regard.data.formats.yolo_yaml import numbered_names
from regard.data.problems import drop_unreadable
from regard.data.validation import ValidationLoader
from regard.diagnosis.case import Case
from regard.diagnosis.findings import GIVE_DATA, Finding, NotChecked
from regard.evaluation.run import evaluate

MOST_IMAGES = 48
"""Images of val that the trained model looks at."""
LEAST_FOUND, LEAST_IN_CLASS = 12, 3
"""Boxes that the model finds in all classes that seem to be interchanged, and in each of them."""
MOSTLY = 0.7
"""Part of the boxes of a class that the model gives to one other class."""
MOST_RIGHT = 0.1
"""Part of the boxes of interchanged classes in which the model may see the class of the label."""


def class_order(case: Case) -> Finding | None:
    """Classes with other ids or names in the data set than in the trained model, or with other ids in the labels."""
    return _in_names(case) or _in_labels(case)


def _in_names(case: Case) -> Finding | None:
    """Names of the data set and of the trained model that differ, or that one of them lacks."""
    stated = case.run.data_names or (tuple(case.detector.names.values()) if case.run.weights else ())
    if not stated:
        raise NotChecked("the run does not state its class names")
    if len(stated) == 1 and case.run.data_options.get("single_cls"):
        return None
    data = case.dataset
    now, then = _comparable(data.names), _comparable(stated)
    if now == then:
        return None
    has_numbers_only = data.names == tuple(numbered_names(len(data.names)))
    if has_numbers_only and (len(now) == len(then) or (len(now) < len(then) and not data.source.endswith(SUFFIXES))):
        raise NotChecked("the data set states no class names", GIVE_DATA)  # a YAML states at least their number
    moved = [name for name in then if name in now and now.index(name) != then.index(name)]
    if moved:
        name = stated[then.index(moved[0])]
        evidence = (
            f"the model has {name!r} as class {then.index(moved[0])}, the data set as class {now.index(moved[0])}; "
            f"{len(moved)} of {len(then)} classes have other ids"
        )
        advice = "put the names in data.yaml in the order of the label files, and train or evaluate again"
        return Finding("class_order", "likely", evidence, advice)
    if len(now) != len(then):
        evidence = f"the model has {len(then)} classes, the data set {len(now)}"
        advice = "train again with the classes of the data set, or evaluate on the data set of the training"
        return Finding("class_order", "likely", evidence, advice)
    if stated == tuple(numbered_names(len(stated))):
        raise NotChecked("the run does not state its class names")
    other = [i for i, (a, b) in enumerate(zip(then, now, strict=True)) if a != b]
    evidence = (
        f"class {other[0]} is {stated[other[0]]!r} in the model and {data.names[other[0]]!r} in the data set; "
        f"{len(other)} of {len(then)} classes have other names"
    )
    return Finding("class_order", "possible", evidence, "check that the ids in the label files still mean the same")


def _in_labels(case: Case) -> Finding | None:
    """Labels of val whose classes are interchanged for the model, which learned those of train."""
    try:
        confusion = _confusion(case)
    except NotChecked:  # the names at least were checked
        return None
    moved = _interchanged(confusion)
    if not moved:
        return None
    labelled, seen = max(moved.items(), key=lambda pair: int(confusion[pair]))
    names, total = case.dataset.names, int(confusion[labelled].sum())
    evidence = (
        f"of the boxes that val labels {names[labelled]!r}, the model finds {total} and sees {names[seen]!r} in "
        f"{int(confusion[labelled, seen])} of them; classes that are interchanged in this way: {len(moved)}"
    )
    advice = "look at the labels: those of val were written with the classes in another order than those of train"
    return Finding("class_order", "likely", evidence, advice)


def _confusion(case: Case) -> NDArray[np.int64]:
    """How often the trained model sees each class (column) where val has the label of another one (row)."""
    samples = [sample for sample in case.dataset.splits.get("val", ()) if len(sample.class_ids)]
    if not samples or not case.images:
        raise NotChecked("val is not opened, or has no boxes")
    some = [samples[i] for i in np.unique(np.linspace(0, len(samples) - 1, MOST_IMAGES).round().astype(int))]
    records = drop_unreadable(replace(case.dataset, splits={"val": tuple(some)})).splits["val"]
    detector = case.detector
    loader = ValidationLoader(records, imgsz=case.run.imgsz, batch=8, workers=0, stride=detector.max_stride)
    return evaluate(detector, loader, records, case.dataset.names).confusion[:-1, :-1]


def _interchanged(confusion: NDArray[np.int64]) -> dict[int, int]:
    """Classes of labels, and the other ones that the model sees in their boxes; empty if that may be its own error.

    A model errs by taking one class for another that it knows too. Here, most boxes found have another class, none of
    which is seen in others as well; or classes change places, however few boxes some of them have.
    """
    return _all_moved(confusion) or _turned(confusion)


def _all_moved(confusion: NDArray[np.int64]) -> dict[int, int]:
    mostly = {i: int(row.argmax()) for i, row in enumerate(confusion) if row.sum() >= LEAST_IN_CLASS}
    mostly = {i: seen for i, seen in mostly.items() if confusion[i, seen] >= MOSTLY * confusion[i].sum()}
    seen_in = Counter(mostly.values())
    moved = {i: seen for i, seen in mostly.items() if seen != i and seen_in[seen] == 1}
    is_most = len(moved) > 1 and confusion[list(moved)].sum() >= max(LEAST_FOUND, confusion.sum() / 2)
    return moved if is_most else {}


def _turned(confusion: NDArray[np.int64]) -> dict[int, int]:
    """Classes that change places in the assignment of one class to each that explains most boxes."""
    own = 0.5 * np.eye(len(confusion))  # where nothing speaks against it
    order = linear_sum_assignment(confusion + own, maximize=True)[1].tolist()
    found: dict[int, int] = {}
    for cycle in _cycles(order):
        known = {i: order[i] for i in cycle if confusion[i].sum() >= LEAST_IN_CLASS}
        boxes = confusion[cycle].sum()
        right, explained = confusion[cycle, cycle].sum(), confusion[cycle, [order[i] for i in cycle]].sum()
        if len(known) > 1 and boxes >= LEAST_FOUND and right <= MOST_RIGHT * boxes and explained >= boxes / 2:
            found |= known
    return found


def _cycles(order: Sequence[int]) -> Iterator[list[int]]:
    """Groups of numbers that a permutation turns, such as [0, 2] in (2, 1, 0)."""
    left = dict(enumerate(order))
    while left:
        cycle = [next(iter(left))]
        while (following := left.pop(cycle[-1])) != cycle[0]:
            cycle.append(following)
        if len(cycle) > 1:
            yield cycle


def _comparable(names: Sequence[str]) -> tuple[str, ...]:
    """Names without differences of spelling; repeated ones are numbered."""
    plain = [folded_name(name) for name in names]
    return tuple(f"{name} {plain[:i].count(name)}" if name in plain[:i] else name for i, name in enumerate(plain))
