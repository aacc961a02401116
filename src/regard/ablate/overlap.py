"""Images that a study both trains on and measures on: the same file, or another with the same content."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from regard.data.dataset import DetectionDataset, Sample
from regard.data.images import ImageFile


def overlap_lines(data: DetectionDataset) -> list[str]:
    """Return a sentence for each of val and test that has images of train; empty where all are apart."""
    lines = []
    for split in ("val", "test"):
        records = data.splits.get(split, ())
        if count := also_trained_on(data.splits["train"], records):
            of = f"all {count}" if count == len(records) else f"{count} of the {len(records)}"
            lines.append(
                f"{of} images of {split} are also trained on: what is measured there is in part memory, and says "
                "little about new images"
            )
    return lines


def also_trained_on(train: Iterable[Sample], other: Iterable[Sample]) -> int:
    """Return how many images of ``other`` are images of ``train``, by name or path, else by the bytes of the file."""
    trained = list(train)
    names = {_identity(record) for record in trained}
    by_size: dict[int, list[Path]] = defaultdict(list)
    for record in trained:
        if isinstance(record.image, ImageFile):
            by_size[record.image.path.stat().st_size].append(record.image.path)
    digests: dict[int, set[bytes]] = {}

    def is_known(record: Sample) -> bool:
        if _identity(record) in names:
            return True
        if not isinstance(record.image, ImageFile):
            return False
        size = record.image.path.stat().st_size
        if size not in digests:  # only files of equal size are read
            digests[size] = {_digest(path) for path in by_size[size]}
        return bool(digests[size]) and _digest(record.image.path) in digests[size]

    return sum(map(is_known, other))


def _identity(record: Sample) -> str:
    """Return the path of a file with all links followed; a drawn scene is what its name says."""
    return str(record.image.path.resolve()) if isinstance(record.image, ImageFile) else record.image.name


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
