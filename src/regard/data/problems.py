"""What is done about the problems of a data set before it is used: one line per kind, images left out, errors."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from regard.data.check import overlaps, pillow_check, set_problems
from regard.data.dataset import DetectionDataset, Problem, Sample
from regard.data.images import JPEG_SUFFIXES, ImageFile, image_size
from regard.errors import RegardError
from regard.system.loaders import read_start

UNREADABLE = "unreadable image"

log = logging.getLogger("regard.data")


def report_problems(data: DetectionDataset) -> None:
    """Log the problems of labels and of the set as a whole, a line per kind; images are not opened.

    What is lost is logged as a warning, which Python prints where logging is not configured; the rest as information.

    Raises:
        RegardError: no split has a box.
    """
    found = [*data.problems, *overlaps(data), *set_problems(data)]
    if not any(len(sample.class_ids) for samples in data.splits.values() for sample in samples):
        lost = problem_lines(problem for problem in found if problem.lost)
        raise RegardError(
            "the data set has no boxes", file=data.source, expected="labelled objects", hint="\n  ".join(lost) or None
        )
    for is_lost, level in ((True, logging.WARNING), (False, logging.INFO)):
        for line in problem_lines(problem for problem in found if problem.lost is is_lost):
            log.log(level, "data: %s", line)


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    """Describe problems in a line per kind, the most frequent first, each with an example.

    Example:
        >>> problem_lines([Problem("zero-area box", "a.txt", "size (0, 0)", "box dropped", k) for k in (3, 5)])
        ['2 x zero-area box, such as a.txt:3: size (0, 0) (box dropped)']
    """
    examples: dict[str, Problem] = {}
    counts: Counter[str] = Counter()
    for problem in problems:
        examples.setdefault(problem.kind, problem)
        counts[problem.kind] += 1
    return [
        f"{count} x {kind}, such as {one.where}: {one.found} ({one.done})"
        if count > 1
        else f"{kind}: {one.where}: {one.found} ({one.done})"
        for kind, count in counts.most_common()
        for one in (examples[kind],)
    ]


def drop_unreadable(data: DetectionDataset) -> DetectionDataset:
    """Leave out the images that cannot be opened and record each as a problem; only their headers are read.

    JPEG files whose end is missing, of which libjpeg complains without their name, are recorded and kept; so are boxes
    that were drawn before an image was rotated by its EXIF orientation, as the size in their file shows.
    """
    unique = {sample.image.name: sample for samples in data.splits.values() for sample in samples}
    with ThreadPoolExecutor() as pool:
        found = [problem for problem in pool.map(_open, unique.values()) if problem]
    if not found:
        return data
    names = {problem.place for problem in found if problem.kind == UNREADABLE}
    kept: dict[int, tuple[Sample, ...]] = {}
    for samples in data.splits.values():
        if id(samples) not in kept:  # train and val may be the same samples
            kept[id(samples)] = tuple(sample for sample in samples if sample.image.name not in names)
    splits = {split: kept[id(samples)] for split, samples in data.splits.items()}
    return replace(data, splits=splits, problems=(*data.problems, *found))


def _open(sample: Sample) -> Problem | None:
    try:
        height, width = image_size(sample.image)
    except RegardError as error:
        return Problem(UNREADABLE, sample.image.name, error.what, "image left out", lost=True)
    if isinstance(sample.image, ImageFile) and _is_cut_off(sample.image.path):
        fault = pillow_check(sample.image.path)[1]
        if fault:
            done = "used as far as it can be decoded"
            return Problem("damaged image", sample.image.name, fault, done, lost=True)
    if sample.labelled_size == (width, height) and width != height:
        found = f"{width} x {height} upright, but labelled as {height} x {width}, before its rotation"
        return Problem(
            "labels of an unrotated image", sample.image.name, found, "boxes are wrong: label it again", lost=True
        )
    return None


def _is_cut_off(path: Path) -> bool:
    """Check whether a JPEG file does not end with the mark of its end; some that are whole have more bytes after it."""
    if path.suffix.lower() not in JPEG_SUFFIXES:
        return False
    return read_start(path, 2, from_end=True) != b"\xff\xd9"
