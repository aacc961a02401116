"""Check of a data set before a long training: its contents, its defects, and how the loader deals with them."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Group, RenderableType
from rich.text import Text

from regard.data.copies import Reader, altered_copies, thumbnail
from regard.data.dataset import DetectionDataset, Problem, Sample, folded_name
from regard.data.files import UNDIVIDED
from regard.data.images import ImageFile, decode, exif_orientation
from regard.data.similar import fingerprint, similar_groups
from regard.errors import RegardError
from regard.system.plain_table import PlainTable
from regard.system.translation import translate

SCHEMA = 1
"""Version of the JSON form of a report; fields may be added to it, but never change their meaning."""
SHOWN = 20
"""Problems of one kind that are printed."""


@dataclass(frozen=True)
class Inspection:
    """Result of opening one image: a hash of its content ("" if it is unreadable), its problems, and by what it is
    compared with others."""

    digest: str
    problems: tuple[Problem, ...]
    fingerprint: NDArray[np.uint8] | None = None
    thumbnail: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class SplitCounts:
    """Size of a split.

    Attributes:
        images: number of images.
        background: images without boxes.
        boxes: number of boxes of each class, by class id.
    """

    images: int
    background: int
    boxes: tuple[int, ...]


@dataclass(frozen=True)
class CheckReport:
    """Contents and problems of a data set; ``rich`` prints it as tables.

    Attributes:
        source: the path or name that the user gave.
        format: name of the format, such as "yolo", "coco", "voc" or "labelme".
        names: class names, by class id.
        splits: size of each split.
        problems: all problems found, first of labels, then of images, then of the data set as a whole.
    """

    source: str
    format: str
    names: tuple[str, ...]
    splits: Mapping[str, SplitCounts]
    problems: tuple[Problem, ...]

    @property
    def lost(self) -> int:
        """Number of problems by which something of the data set is not used: a box, an image or a label file."""
        return sum(problem.lost for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """All that was found, for JSON: ``schema`` 1, described in docs/data.md."""
        splits = {
            name: {
                "images": split.images,
                "background": split.background,
                "boxes": [
                    {"class": class_id, "name": self.names[class_id], "count": count}
                    for class_id, count in enumerate(split.boxes)
                ],
            }
            for name, split in self.splits.items()
        }
        problems = [
            {"kind": p.kind, "place": p.place, "line": p.line, "found": p.found, "handling": p.done, "lost": p.lost}
            for p in self.problems
        ]
        head = {"schema": SCHEMA, "source": self.source, "format": self.format, "names": list(self.names)}
        return {**head, "splits": splits, "lost": self.lost, "problems": problems}

    def __rich__(self) -> RenderableType:
        lost = Text(f"{self.lost:,} problems lose something that the data set contains", style="red")
        return Group(
            Text(f"{self.source}: {self.format}, {len(self.names)} classes", style="bold"),
            self._counts_table(),
            *(self._problem_lists() if self.problems else [Text("no problems found", style="green")]),
            *([lost] if self.lost else []),
        )

    def _counts_table(self) -> PlainTable:
        table = PlainTable("", *self.splits)
        for column in table.columns[1:]:
            column.justify = "right"
        table.add_row(translate("images"), *(f"{split.images:,}" for split in self.splits.values()))
        table.add_row("  " + translate("without boxes"), *(f"{split.background:,}" for split in self.splits.values()))
        table.add_row(
            translate("boxes"), *(f"{sum(split.boxes):,}" for split in self.splits.values()), end_section=True
        )
        for class_id, name in enumerate(self.names):
            table.add_row(Text(name), *(f"{split.boxes[class_id]:,}" for split in self.splits.values()))
        return table

    def _problem_lists(self) -> Iterator[RenderableType]:
        """For each kind of problem how it is handled and where it is, one line each and at most ``SHOWN``."""
        kinds = Counter((not problem.lost, problem.kind, problem.done) for problem in self.problems)
        for (is_kept, kind, done), count in sorted(kinds.items(), key=lambda item: (item[0][0], -item[1])):
            members = [p for p in self.problems if (not p.lost, p.kind, p.done) == (is_kept, kind, done)]
            style = "bold" if is_kept else "bold red"
            how = translate(": {0} ({1})").format(f"{count:,}", translate(done))
            yield Text.assemble((f"\n{translate(kind)}", style), how, overflow="fold")
            for problem in members[:SHOWN]:
                place = "" if problem.place == self.source else f"{self._inside(problem.where)}: "
                yield Text(f"  {place}{self._inside(translate(problem.found))}", overflow="fold")
            if count > SHOWN:
                yield Text(f"  and {count - SHOWN:,} more; --json has all")

    def _inside(self, text: str) -> str:
        """Shorten the paths in ``text`` to the part inside the data set."""
        root = Path(self.source)
        folder = root.parent if root.suffix else root
        return text.replace(f"{folder}/", "") if folder.name else text


def check_data(data: DetectionDataset, before_image: Callable[[], None] = lambda: None) -> CheckReport:
    """Open every image of a data set and report all problems.

    Args:
        data: the data set.
        before_image: called before each image is opened, in several threads; an exception of it ends the check.

    Example:
        >>> from regard.data.formats import load_data
        >>> report = check_data(load_data("synthetic:local?train=3&val=2&test=0"))
        >>> report.splits["train"].images, report.problems
        (3, ())
    """
    problems = [*data.problems, *_image_problems(data, before_image), *set_problems(data)]
    splits = {split: _count(samples, len(data.names)) for split, samples in data.splits.items()}
    return CheckReport(data.source, data.format, data.names, splits, tuple(problems))


def _count(samples: tuple[Sample, ...], classes: int) -> SplitCounts:
    boxes = Counter(int(class_id) for sample in samples for class_id in sample.class_ids)
    background = sum(not len(sample.class_ids) for sample in samples)
    return SplitCounts(len(samples), background, tuple(boxes[class_id] for class_id in range(classes)))


def _image_problems(data: DetectionDataset, before_image: Callable[[], None]) -> list[Problem]:
    """Open each image once, even if it is in several splits, and find duplicates."""
    first_split: dict[str, str] = {}
    samples: list[Sample] = []
    problems = overlaps(data)
    for split, members in data.splits.items():
        for sample in members:
            if sample.image.name not in first_split:
                first_split[sample.image.name] = split
                samples.append(sample)

    def inspect(sample: Sample) -> Inspection:
        before_image()
        return inspect_image(sample)

    # Decoding releases the GIL. Pillow warns of unusual metadata, which is no problem of the data set.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor() as pool:
        inspections = list(pool.map(inspect, samples))
    problems += [problem for inspection in inspections for problem in inspection.problems]
    contents = zip((inspection.digest for inspection in inspections), samples, strict=True)
    return problems + _duplicates(contents, first_split) + _near_duplicates(inspections, samples, first_split)


def overlaps(data: DetectionDataset) -> list[Problem]:
    """Report splits that have images in common with an earlier one."""
    first_split: dict[str, str] = {}
    problems = []
    for split, samples in data.splits.items():
        shared = Counter(first_split.setdefault(sample.image.name, split) for sample in samples)
        for other, count in shared.items():
            if other == split:
                continue
            done = f"kept; {split} scores say no more than {other} scores"
            if other == "train":
                done = f"kept; {split} scores say nothing about new images"
            found = f"{count} images of {split} are also in {other}"
            problems.append(Problem("splits overlap", data.source, found, "kept" if split == "train" else done))
    return problems


def also_in_train(data: DetectionDataset) -> dict[str, int]:
    """Number of the images of each other split that are in train, too, by their names; splits without any lack."""
    train = {sample.image.name for sample in data.splits.get("train", ())}
    others = {split: samples for split, samples in data.splits.items() if split != "train"}
    counts = {split: sum(one.image.name in train for one in samples) for split, samples in others.items()}
    return {split: count for split, count in counts.items() if count}


def _duplicates(contents: Iterable[tuple[str, Sample]], splits: Mapping[str, str]) -> list[Problem]:
    seen: dict[str, str] = {}
    problems = []
    for digest, sample in contents:
        name = sample.image.name
        original = seen.setdefault(digest, name) if digest else name
        if original == name:
            continue
        across = splits[original] != splits[name]
        found = f"same content as {original} in {splits[original]}" if across else f"same content as {original}"
        kind = "duplicate image between splits" if across else "duplicate image"
        problems.append(Problem(kind, f"{name} in {splits[name]}", found, "both kept"))
    return problems


def _near_duplicates(
    inspections: Sequence[Inspection], samples: Sequence[Sample], splits: Mapping[str, str]
) -> list[Problem]:
    """Report each image that looks like one of an earlier split; equal files are reported as duplicates already."""
    readable = [index for index, one in enumerate(inspections) if one.fingerprint is not None]
    if len(readable) < 2 or len(set(splits.values())) < 2:
        return []
    groups = similar_groups(np.stack([fp for one in inspections if (fp := one.fingerprint) is not None]))
    firsts: dict[int, dict[str, int]] = defaultdict(dict)
    originals: dict[int, int] = {}
    split_of = {index: splits[samples[index].image.name] for index in readable}
    for group, index in zip(groups.tolist(), readable, strict=True):
        split = split_of[index]
        firsts[group].setdefault(split, index)
        other = next((first for of, first in firsts[group].items() if of != split), None)
        if other is not None:
            originals[index] = other
    rest = {index: split for index, split in split_of.items() if index not in originals}
    originals |= _altered(inspections, samples, rest)
    problems = []
    for index, other in sorted(originals.items()):
        if inspections[other].digest != inspections[index].digest:
            name, original = samples[index].image.name, samples[other].image.name
            found, done = f"looks like {original} in {splits[original]}", "both kept; scores may be too high"
            problems.append(Problem("near-duplicate between splits", f"{name} in {split_of[index]}", found, done))
    return problems


def _altered(inspections: Sequence[Inspection], samples: Sequence[Sample], splits: Mapping[int, str]) -> dict[int, int]:
    """Originals of the altered copies among images, by index: images of an earlier split."""
    found: dict[int, int] = {}
    earlier: list[int] = []
    for split in dict.fromkeys(splits.values()):
        members = [index for index, other in splits.items() if other == split]
        if earlier:
            ours, theirs = (
                np.stack([one for i in group if (one := inspections[i].thumbnail) is not None])
                for group in (members, earlier)
            )
            readers = _reader(samples, members), _reader(samples, list(earlier))
            pairs = zip(members, altered_copies(ours, theirs, readers).tolist(), strict=True)
            found |= {index: earlier[other] for index, other in pairs if other >= 0}
        earlier += members
    return found


def _reader(samples: Sequence[Sample], indices: Sequence[int]) -> Reader:
    """Read an image by its position among ``indices``."""
    return lambda position: samples[indices[position]].image.read()


def set_problems(data: DetectionDataset) -> list[Problem]:
    """Report a missing val split, splits and classes without boxes, and class names that are equal or similar."""
    problems = []
    if "val" not in data.splits and ("train" in data.splits or UNDIVIDED in data.splits):
        done = "training validates on a fraction of the images, val_fraction"
        problems.append(Problem("no split", data.source, "no val images are named", done))
    counts = {split: _count(samples, len(data.names)) for split, samples in data.splits.items()}
    for split, count in counts.items():
        if not sum(count.boxes):
            problems.append(Problem("empty set", data.source, f"{split} has no boxes", "its AP is undefined"))
    for name, times in Counter(data.names).items():
        if times > 1:
            problems.append(Problem("repeated class name", data.source, f"{times} classes are {name!r}", "all kept"))
    alike: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(data.names):
        alike[folded_name(name)].append(repr(name))
    for spellings in (names for names in alike.values() if len(names) > 1):
        found = f"{' and '.join(spellings)} differ only in capitals, spaces, hyphens or underscores"
        problems.append(Problem("similar class names", data.source, found, "kept as classes of their own"))
    for class_id, name in enumerate(data.names):
        absent = [split for split, count in counts.items() if not count.boxes[class_id]]
        is_first = class_id == 0 and len(data.names) > 1 and (data.category_ids or (1,))[0] == 0
        if is_first and len(absent) == len(counts):
            found = f"class 0, {name!r}, has no box: in exports of Roboflow it is the group of the others"
            problems.append(Problem("phantom class", data.source, found, "kept, so that class ids do not change"))
        elif absent:
            found = f"no box of {name!r} in {', '.join(absent)}"
            problems.append(Problem("class without boxes", data.source, found, "kept; its AP is left out of the mean"))
    return problems


def inspect_image(sample: Sample) -> Inspection:
    """Decode the image of a sample completely and compare its size with the labels."""
    image = sample.image
    if not isinstance(image, ImageFile):
        pixels = image.read()
        return Inspection(_digest(pixels.tobytes()), (), fingerprint(pixels), thumbnail(pixels))
    try:
        pixels = image.read()
    except RegardError as error:
        return Inspection("", (Problem("unreadable image", image.name, error.what, "image left out", lost=True),))
    problems = [*_encoding_problems(image), *_size_problems(pixels, sample)]
    return Inspection(_digest(image.path.read_bytes()), tuple(problems), fingerprint(pixels), thumbnail(pixels))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _encoding_problems(image: ImageFile) -> list[Problem]:
    problems = []
    orientation, fault = pillow_check(image.path)
    if fault:
        problems.append(Problem("damaged image", image.name, fault, "used as far as it can be decoded", lost=True))
    if orientation != 1:
        done = "rotated upright; the labels must be for the upright image"
        problems.append(Problem("EXIF rotation", image.name, f"orientation {orientation}", done))
    stored = decode(image.path, cv2.IMREAD_UNCHANGED)
    if stored is None:
        return problems
    channels = 1 if stored.ndim == 2 else stored.shape[2]
    if channels == 1:
        problems.append(Problem("grayscale image", image.name, "1 channel", "repeated over three channels"))
    if channels == 4:
        problems.append(Problem("RGBA image", image.name, "4 channels", "alpha dropped"))
    if stored.dtype != np.uint8:
        bits = 8 * stored.dtype.itemsize
        problems.append(
            Problem(f"{bits}-bit image", image.name, f"{bits} bits per channel", "scaled by its range to 8")
        )
    return problems


def pillow_check(path: Path) -> tuple[int, str]:
    """EXIF orientation, and the reason why Pillow cannot decode the file: OpenCV fills a truncated file with grey."""
    orientation = 1
    try:
        with Image.open(path) as opened:
            orientation = exif_orientation(opened)
            opened.load()
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file Pillow raises errors of any kind
        return orientation, str(error) or type(error).__name__
    return orientation, ""


def _size_problems(pixels: NDArray[np.uint8], sample: Sample) -> list[Problem]:
    height, width = pixels.shape[:2]
    if sample.labelled_size in (None, (height, width)):
        return []
    stated_height, stated_width = sample.labelled_size or (0, 0)
    found = f"{width} x {height}, but labelled as {stated_width} x {stated_height}"
    if (stated_height, stated_width) == (width, height):
        found += ", as if before its EXIF rotation: then the boxes are wrong"
    return [Problem("wrong size in labels", sample.image.name, found, "boxes kept as fractions of the labelled size")]
