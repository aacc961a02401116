"""The Pascal VOC format: one XML file of boxes per image, and text files that list the images of each split."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from regard.data.dataset import DetectionDataset, Problem, Sample
from regard.data.files import SPLITS, missing_images, undivided
from regard.data.formats.labels import Label, clean, to_arrays
from regard.data.images import IMAGE_SUFFIXES, ImageFile, image_size
from regard.errors import RegardError, nearest
from regard.system.files import is_file, is_folder, is_there
from regard.system.loaders import read_text, read_xml

EXPECTED = "a folder with Annotations/*.xml (VOC)"
NAME_FILES = ("classes.txt", "labels.txt")


def recognise(source: str) -> bool:
    """Check for a folder with XML files in ``Annotations``."""
    return any(Path(source, "Annotations").glob("*.xml"))


def read(source: str | Path) -> DetectionDataset:
    """Read a folder with ``Annotations``, ``JPEGImages`` and ``ImageSets/Main``.

    Classes are those of ``classes.txt`` or ``labels.txt`` (one per line) if there is one, else the class names found,
    sorted. Pixel coordinates are used as they are: VOC counts pixels from 1 and includes the last one, but most tools
    that write this format do not, and the file does not tell which, so no pixel is added or removed. Objects marked
    ``difficult`` are kept. ``trainval`` is used as "train" only if there is no ``train``; without any list all images
    are both "train" and "val".

    Raises:
        RegardError: an XML file is broken, or the folder contains no images.
    """
    folder = Path(source)
    lists = _split_lists(folder)
    stems = {split: _stems(file) for split, file in lists.items()}
    if not stems:
        stems = {"": sorted(file.stem for file in (folder / "Annotations").glob("*.xml"))}
    images = _images_by_stem(folder)
    trees = {stem: _parse(folder, stem) for stem in dict.fromkeys(s for group in stems.values() for s in group)}
    names = _names(folder, trees.values())
    splits: dict[str, tuple[Sample, ...]] = {}
    problems: list[Problem] = []
    for split, group in stems.items():
        absent = [folder / "JPEGImages" / stem for stem in group if stem not in images]
        problems += missing_images(absent, lists.get(split, folder / "Annotations"))
        present = [(images[stem], trees[stem]) for stem in group if stem in images]
        if not present:
            which = f"{len(group)} {split}".rstrip()
            raise RegardError(f"none of the {which} images exists", file=folder / "JPEGImages")
        samples = []
        for image_id, (image, tree) in enumerate(present):
            sample, found = _sample(image, tree, image_id, folder, names)
            samples.append(sample)
            problems += found
        splits[split] = tuple(samples)
    return DetectionDataset(names, splits if lists else undivided(splits[""]), "voc", str(folder), tuple(problems))


def _split_lists(folder: Path) -> dict[str, Path]:
    """Find the text file of each split."""
    main = folder / "ImageSets" / "Main"
    lists = {split: main / f"{split}.txt" for split in SPLITS if is_file(main / f"{split}.txt")}
    if is_file(main / "trainval.txt"):
        lists = {"train": main / "trainval.txt", **lists}
    return lists


def _stems(file: Path) -> list[str]:
    """Read the image names of a list; a second column, as in VOC's lists per class, is ignored."""
    stems = [line.split()[0] for line in read_text(file).splitlines() if line.strip()]
    if not stems:
        raise RegardError("the list is empty", file=file, expected="one image name per line")
    return stems


def _images_by_stem(folder: Path) -> dict[str, Path]:
    images = folder / "JPEGImages"
    if not is_folder(images):
        raise RegardError(
            "the folder JPEGImages is missing", file=folder, expected="Annotations, JPEGImages, ImageSets/Main"
        )
    return {path.stem: path for path in sorted(images.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES}


def _parse(folder: Path, stem: str) -> ET.Element | None:
    """Parse the XML file of an image; None if there is none."""
    file = folder / "Annotations" / f"{stem}.xml"
    return read_xml(file) if is_there(file) else None


def _names(folder: Path, trees: Iterable[ET.Element | None]) -> tuple[str, ...]:
    for name_file in (folder / name for name in NAME_FILES):
        if is_file(name_file):
            listed = (line.strip() for line in read_text(name_file).splitlines())
            return tuple(name for name in listed if name)
    roots = [tree for tree in trees if tree is not None]
    found = {_class_of(obj) for root in roots for obj in root.findall("object")}
    if not found:
        raise RegardError("no annotation contains an object", file=folder / "Annotations")
    return tuple(sorted(found))


def _class_of(obj: ET.Element) -> str:
    return (obj.findtext("name") or "").strip()


def _sample(
    image: Path, tree: ET.Element | None, image_id: int, folder: Path, names: tuple[str, ...]
) -> tuple[Sample, list[Problem]]:
    source = ImageFile(image)
    if tree is None:
        problem = Problem("missing label", str(image), "no XML in Annotations", "kept as background")
        return Sample(source, *to_arrays([]), image_id), [problem]
    file = folder / "Annotations" / f"{image.stem}.xml"
    size = _size(tree) or image_size(source)
    objects = enumerate(tree.findall("object"), 1)
    labels, problems = clean([_label(obj, number, file, size, names) for number, obj in objects])
    return Sample(source, *to_arrays(labels), image_id, labelled_size=size), problems


def _size(tree: ET.Element) -> tuple[int, int] | None:
    """Read (height, width) from the XML; None if it is missing or invalid, as some tools write zeros or words."""
    try:
        height, width = (int(float(tree.findtext(f"size/{side}") or 0)) for side in ("height", "width"))
    except (ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _label(obj: ET.Element, number: int, file: Path, size: tuple[int, int], names: tuple[str, ...]) -> Label:
    place = f"{file}, object {number}"
    name = _class_of(obj)
    height, width = size
    left, top, right, bottom = (_coordinate(obj, side, number, file) for side in ("xmin", "ymin", "xmax", "ymax"))
    box = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    if name in names:
        return Label(place, name, names.index(name), box)
    hint = nearest(name, names)
    return Label(place, f"{name!r}" + (f" ({hint})" if hint else ""), None, box)


def _coordinate(obj: ET.Element, side: str, number: int, file: Path) -> float:
    text = obj.findtext(f"bndbox/{side}")
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RegardError(f"object {number} has {side} {text!r}", file=file, expected="a number of pixels in bndbox")
    return value
