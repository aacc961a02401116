"""Classes of a detector and of a data set, matched by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import folded_name
from regard.errors import RegardError, first_names, warn
from regard.types import Predictor

MOST_NAMES = 12
"""Largest number of class names in a message."""

_NUMBERED = re.compile(r"(class|cls|label|object|item)?[ _-]*\d+", re.IGNORECASE)


class AlignedClasses:
    """A predictor whose class scores are arranged as the classes of a data set.

    Args:
        predictor: the detector.
        names: class names of the data.
        sources: for each of them the detector's class, or None for a class that the detector does not know.
    """

    def __init__(self, predictor: Predictor, names: Sequence[str], sources: Sequence[int | None]) -> None:
        self._predictor, self._sources = predictor, sources
        self.names: Mapping[int, str] = dict(enumerate(names))

    @property
    def strides(self) -> tuple[int, ...]:
        """As those of the detector."""
        return self._predictor.strides

    @property
    def one_to_one(self) -> bool:
        """As of the detector: whether its boxes need no NMS."""
        return getattr(self._predictor, "one_to_one", False)

    @property
    def max_stride(self) -> int:
        """As that of the detector."""
        return self._predictor.max_stride

    def predict(self, images: NDArray[np.uint8], conf: float) -> list[NDArray[np.float32]]:
        """Predict as the detector does; unknown classes score 0, and boxes without a score above ``conf`` are left out.

        Returns:
            Per image (n, 4 + classes of the data), as ``regard.types.Predictor.predict``.
        """
        return [self._arrange(rows, conf) for rows in self._predictor.predict(images, conf)]

    def _arrange(self, rows: NDArray[np.float32], conf: float) -> NDArray[np.float32]:
        arranged = np.zeros((len(rows), 4 + len(self._sources)), np.float32)
        arranged[:, :4] = rows[:, :4]
        for column, source in enumerate(self._sources, 4):
            if source is not None:
                arranged[:, column] = rows[:, 4 + source]
        return arranged[(arranged[:, 4:] > conf).any(axis=1)]


def align_classes(predictor: Predictor, names: Sequence[str]) -> Predictor:
    """Let a detector predict the classes of the data, matched by name regardless of order, capitals, ``_`` and ``-``.

    Classes that only one of them has are reported in a warning: objects of such a class are not measured if the data
    lack it, and not found if the detector lacks it. Names that are only numbers, such as ``class0``, match by number.

    Args:
        predictor: the detector; returned as it is if its classes are those of the data, in their order.
        names: class names of the data.

    Raises:
        RegardError: they have no class in common.

    Example:
        >>> import regard
        >>> model = regard.load("odd-one-out")
        >>> model.names = {0: "ordinary", 1: "odd"}
        >>> dict(align_classes(model, ["Odd", "ordinary"]).names)
        {0: 'Odd', 1: 'ordinary'}
    """
    own = list(predictor.names.values())
    sources = _sources(own, names)
    if sources == list(range(len(own))):
        return predictor
    unknown = [name for name, source in zip(names, sources, strict=True) if source is None]
    unused = [name for index, name in enumerate(own) if index not in sources]
    if len(unknown) == len(names):
        raise RegardError(
            f"the detector has {len(own)} classes, {_listed(own)}, and the data have {len(names)}, {_listed(names)}; "
            "they have none in common",
            expected="data labelled with classes of the detector",
            hint="rename the classes in the data; with --single-cls (in Python: single_cls=True) only boxes count",
        )
    if unused:
        what = f"the data have {len(names) - len(unknown)} of the detector's {len(own)} classes: only these count"
        warn(f"{what} (not in the data: {_listed(unused)})")
    if unknown:
        what = f"the detector does not know {len(unknown)} of the {len(names)} classes of the data"
        warn(f"{what}, so their boxes count as missed: {_listed(unknown)}")
    return AlignedClasses(predictor, names, sources)


def _sources(own: Sequence[str], names: Sequence[str]) -> list[int | None]:
    """For each name the index of the class of the same name in ``own``; of equal names, one each in their order."""
    if list(own) == list(names):
        return list(range(len(own)))
    found: list[int | None] = [None] * len(names)
    for form in (str, folded_name):  # names that are exactly equal come first
        free: dict[str, list[int]] = {}
        for index, name in enumerate(own):
            if index not in found:
                free.setdefault(form(name), []).append(index)
        for index, name in enumerate(names):
            if found[index] is None and free.get(form(name)):
                found[index] = free[form(name)].pop(0)
    if len(own) == len(names) and not any(source is not None for source in found):
        if _are_numbers(own):  # a model without names of its own
            return list(range(len(own)))
        if _are_numbers(names):
            what = f"classes are matched by number: the detector's are {_listed(own)}, the data's {_listed(names)}"
            warn(what)
            return list(range(len(own)))
    return found


def _are_numbers(names: Sequence[str]) -> bool:
    return all(_NUMBERED.fullmatch(name) for name in names)


def _listed(names: Sequence[str]) -> str:
    return first_names(names, MOST_NAMES)
