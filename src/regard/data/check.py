"""Looking a data set over before hours are spent on it: what is in it, what is wrong, what is done about that."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from regard.data.dataset import DetectionDataset, Problem, Sample
from regard.data.formats import load_data
from regard.data.inspection import inspect_image
from regard.data.sheet import check_suffix, write_sheet


@dataclass(frozen=True)
class SplitCounts:
    """How much a split holds.

    Attributes:
        images: number of images.
        background: images without boxes.
        boxes: boxes of each class, by class id.
    """

    images: int
    background: int
    boxes: tuple[int, ...]


@dataclass(frozen=True)
class CheckReport:
    """What a data set holds and what is wrong with it; ``rich`` prints it as tables.

    Attributes:
        source: what was checked.
        format: "yolo", "coco", "voc" or "synthetic".
        names: class names, by class id.
        splits: the counts of each split.
        problems: all that was found, labels first, then images, then the set as a whole.
        sheet: the contact sheet, if one was asked for and any image could be drawn.
    """

    source: str
    format: str
    names: tuple[str, ...]
    splits: Mapping[str, SplitCounts]
    problems: tuple[Problem, ...]
    sheet: Path | None = None

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = [
            Text(f"{self.source}: {self.format}, {len(self.names)} classes", style="bold"),
            self._counts_table(),
            self._problems_table() if self.problems else Text("nothing wrong was found", style="green"),
        ]
        if self.sheet:
            parts.append(Text(f"contact sheet: {self.sheet}"))
        return Group(*parts)

    def _counts_table(self) -> Table:
        table = Table("", *self.splits)
        for column in table.columns[1:]:
            column.justify = "right"
        table.add_row("images", *(f"{split.images:,}" for split in self.splits.values()))
        table.add_row("  without boxes", *(f"{split.background:,}" for split in self.splits.values()))
        table.add_row("boxes", *(f"{sum(split.boxes):,}" for split in self.splits.values()), end_section=True)
        for class_id, name in enumerate(self.names):
            table.add_row(Text(name), *(f"{split.boxes[class_id]:,}" for split in self.splits.values()))
        return table

    def _problems_table(self) -> Table:
        table = Table("problem", "count", "for example", "what is done")
        for kind, count in Counter(problem.kind for problem in self.problems).most_common():
            example = next(problem for problem in self.problems if problem.kind == kind)
            shown = f"{self._inside(example.place)}: {self._inside(example.found)}"
            table.add_row(Text(kind), f"{count:,}", Text(shown, overflow="fold"), Text(example.done))
        return table

    def _inside(self, text: str) -> str:
        """Return ``text`` with the paths in it shortened to what lies inside the data set."""
        root = Path(self.source)
        folder = root.parent if root.suffix else root
        return text.replace(f"{folder}/", "") if folder.name else text


def check_data(source: str | Path, *, sheet: Path | None = None) -> CheckReport:
    """Load the data set at ``source``, open every image, and report what is wrong.

    Args:
        source: as in :func:`regard.data.formats.load_data`.
        sheet: where to draw a contact sheet of labelled images (.png or .jpg); None draws none.

    Raises:
        RegardError: the data set cannot be loaded at all, or the sheet not be written.
    """
    if sheet:
        check_suffix(sheet)
    data = load_data(source)
    problems = [*data.problems, *_image_problems(data), *_set_problems(data)]
    drawn = write_sheet(data, sheet) if sheet else None
    splits = {split: _count(records, len(data.names)) for split, records in data.splits.items()}
    return CheckReport(str(source), data.format, data.names, splits, tuple(problems), drawn)


def _count(records: tuple[Sample, ...], classes: int) -> SplitCounts:
    boxes = Counter(int(class_id) for record in records for class_id in record.class_ids)
    background = sum(not len(record.class_ids) for record in records)
    return SplitCounts(len(records), background, tuple(boxes[class_id] for class_id in range(classes)))


def _image_problems(data: DetectionDataset) -> list[Problem]:
    """Open each image once, whatever number of splits it is in, and find those of equal content."""
    first_split: dict[str, str] = {}
    records: list[Sample] = []
    problems: list[Problem] = []
    for split, members in data.splits.items():
        shared = Counter(first_split.get(record.image.name) for record in members)
        problems += [_overlap(data, split, other, count) for other, count in shared.items() if other]
        for record in members:
            if record.image.name not in first_split:
                first_split[record.image.name] = split
                records.append(record)
    # Decoding releases Python's lock. Pillow warns of odd metadata, which is none of the things looked for.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor() as pool:
        inspections = list(pool.map(inspect_image, records))
    problems += [problem for inspection in inspections for problem in inspection.problems]
    contents = zip((inspection.digest for inspection in inspections), records, strict=True)
    return problems + _duplicates(contents, first_split)


def _overlap(data: DetectionDataset, split: str, other: str, count: int) -> Problem:
    done = f"kept; {split} scores do not tell about new images" if split != "train" else "kept"
    return Problem("splits overlap", data.source, f"{count} images of {split} are also in {other}", done)


def _duplicates(contents: Iterable[tuple[str, Sample]], splits: Mapping[str, str]) -> list[Problem]:
    seen: dict[str, str] = {}
    problems = []
    for digest, record in contents:
        name = record.image.name
        original = seen.setdefault(digest, name) if digest else name
        if original == name:
            continue
        across = splits[original] != splits[name]
        found = f"same content as {original}" + (f" in {splits[original]}" if across else "")
        kind = "duplicate image between splits" if across else "duplicate image"
        problems.append(Problem(kind, f"{name} in {splits[name]}", found, "both kept"))
    return problems


def _set_problems(data: DetectionDataset) -> list[Problem]:
    problems = []
    counts = {split: _count(records, len(data.names)) for split, records in data.splits.items()}
    for split, count in counts.items():
        if not sum(count.boxes):
            problems.append(Problem("empty set", data.source, f"{split} has no boxes", "nothing to learn or to score"))
    for name, times in Counter(data.names).items():
        if times > 1:
            problems.append(Problem("repeated class name", data.source, f"{times} classes are {name!r}", "all kept"))
    for class_id, name in enumerate(data.names):
        absent = [split for split, count in counts.items() if not count.boxes[class_id]]
        if absent:
            found = f"no box of {name!r} in {', '.join(absent)}"
            problems.append(Problem("class without boxes", data.source, found, "kept; its AP is left out of the mean"))
    return problems
