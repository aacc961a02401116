"""Odd-one-out scenes: a detection data set that is drawn on demand, for tasks that need context and tasks that do not.

A scene shows three to five discs and squares on a noisy grey background, all of one colour except one. In the task
"context" the object of the other colour is class "odd". Its appearance alone does not determine the class, because
every colour is the odd one equally often. In the task "local" the same scenes are labelled by shape. Every scene is a
pure function of (seed, split, index).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from urllib.parse import parse_qsl

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import DetectionDataset, Sample
from regard.data.files import SPLITS
from regard.errors import RegardError, nearest, one_of

EXPECTED = "or synthetic:context, synthetic:local"
PREFIX = "synthetic:"
TASKS = {"context": ("ordinary", "odd"), "local": ("circle", "square")}
"""Class names of each task."""

MOST_IMAGES = 100_000
"""Images of a split; their objects are placed when the set is read, which takes seconds for as many."""

SIZE = 128
"""Height and width of a scene in pixels."""

COLOURS = np.array([(210, 50, 50), (50, 180, 60), (60, 80, 220), (225, 205, 50)], dtype=np.float64)
COLOUR_JITTER = 18
SIDES = (15, 24)
OBJECTS = (3, 5)
GAP = 5
"""Least distance between two objects in pixels."""

_LAYOUT, _PIXELS = 0, 1  # separate random streams, so that labels can be computed without drawing


@dataclass(frozen=True)
class Scene:
    """One scene; it is drawn when it is read.

    Attributes:
        seed: seed of the data set.
        split: "train", "val" or "test".
        index: position in the split.
        corners: (N, 2) int64, left and top of each object in pixels.
        sides: (N,) int64, width and height of each object in pixels.
        is_square: (N,) bool; the others are discs.
        is_odd: (N,) bool, True for exactly one object.
        colours: (N, 3) float64, RGB.
    """

    seed: int
    split: str
    index: int
    corners: NDArray[np.int64]
    sides: NDArray[np.int64]
    is_square: NDArray[np.bool_]
    is_odd: NDArray[np.bool_]
    colours: NDArray[np.float64]

    @property
    def name(self) -> str:
        """``synthetic/SEED/SPLIT/INDEX``."""
        return f"synthetic/{self.seed}/{self.split}/{self.index:05d}"

    def read(self) -> NDArray[np.uint8]:
        """Draw the scene as (128, 128, 3) uint8 RGB, identical at every call."""
        rng = _generator(self.seed, self.split, self.index, _PIXELS)
        shading = cv2.resize(rng.normal(0, 12, (5, 5)), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        ground = (rng.uniform(80, 150) + shading).astype(np.float32)
        image = np.repeat(ground[:, :, None], 3, axis=2)
        for (left, top), side, square, colour in zip(
            self.corners, self.sides, self.is_square, self.colours, strict=True
        ):
            image[top : top + side, left : left + side][_mask(int(side), bool(square))] = colour
        image += 5 * rng.standard_normal(image.shape, dtype=np.float32)
        return np.asarray(np.rint(image.clip(0, 255)), dtype=np.uint8)


def _mask(side: int, square: bool) -> NDArray[np.bool_]:
    """Pixels (side, side) that an object covers; it touches all four edges."""
    if square:
        return np.ones((side, side), dtype=np.bool_)
    offset = np.arange(side) - (side - 1) / 2
    return np.asarray(offset[:, None] ** 2 + offset[None, :] ** 2 <= (side / 2) ** 2)


def _generator(seed: int, split: str, index: int, stream: int) -> np.random.Generator:
    return np.random.default_rng((seed, SPLITS.index(split), index, stream))


def scene(seed: int, split: str, index: int, colours: int = 3) -> Scene:
    """Lay out one scene of the data set; only the first ``colours`` of the four colours are used.

    Example:
        >>> image = scene(seed=0, split="train", index=7)
        >>> image.name, image.read().shape, int(image.is_odd.sum())
        ('synthetic/0/train/00007', (128, 128, 3), 1)
    """
    rng = _generator(seed, split, index, _LAYOUT)
    count = int(rng.integers(OBJECTS[0], OBJECTS[1], endpoint=True))
    corners, sides = _place(rng, count)
    is_odd = np.arange(count) == rng.integers(count)
    common, odd = rng.choice(colours, 2, replace=False)
    jitter = rng.uniform(-COLOUR_JITTER, COLOUR_JITTER, (count, 3))
    painted = COLOURS[np.where(is_odd, odd, common)] + jitter
    return Scene(seed, split, index, corners, sides, rng.random(count) < 0.5, is_odd, painted)


def _place(rng: np.random.Generator, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw corners (count, 2) and sides (count,) until all objects keep their distance (rejection sampling)."""
    while True:
        sides = rng.integers(SIDES[0], SIDES[1], count, endpoint=True)
        corners = rng.integers(0, SIZE - sides[:, None], (count, 2), endpoint=True)
        centres = corners + sides[:, None] / 2
        distance = np.abs(centres[:, None] - centres[None]).max(axis=2)  # (count, count), Chebyshev
        needed = (sides[:, None] + sides[None]) / 2 + GAP
        if np.all((distance > needed) | np.eye(count, dtype=np.bool_)):
            return corners, sides


@dataclass(frozen=True)
class _Options:
    """Options after the question mark: images per split, number of colours, seed."""

    train: int = 2000
    val: int = 300
    test: int = 300
    colours: int = 3
    seed: int = 0


def recognise(source: str) -> bool:
    """Check whether ``source`` names a synthetic data set."""
    return source.startswith(PREFIX)


def read(source: str) -> DetectionDataset:
    """Make the data set that ``synthetic:TASK?train=2000&val=300&test=300&colours=3&seed=0`` names.

    All options may be left out; the values above are their defaults. A split of 0 images is left out. No image is
    drawn yet.

    Raises:
        RegardError: unknown task or option, or a value out of range.

    Example:
        >>> data = read("synthetic:context?train=5&val=2&test=0")
        >>> data.names, {split: len(samples) for split, samples in data.splits.items()}
        (('ordinary', 'odd'), {'train': 5, 'val': 2})
    """
    task, _, query = source.removeprefix(PREFIX).partition("?")
    if task not in TASKS:
        raise RegardError(
            f"unknown synthetic task {task!r}",
            expected=" or ".join(f"{PREFIX}{name}" for name in TASKS),
            hint=nearest(task, TASKS),
        )
    options = _parse(query)
    counts = {"train": options.train, "val": options.val, "test": options.test}
    splits = {
        split: tuple(_sample(scene(options.seed, split, index, options.colours), task) for index in range(count))
        for split, count in counts.items()
        if count
    }
    if not splits:
        raise RegardError("the synthetic set has no images", expected="train, val or test of at least 1")
    return DetectionDataset(TASKS[task], splits, "synthetic", source)


def _parse(query: str) -> _Options:
    known = [field.name for field in fields(_Options)]
    values: dict[str, int] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            raise RegardError(f"unknown option {key!r}", expected=one_of(known), hint=nearest(key, known))
        if not value.isdecimal() or len(value) > 9:
            raise RegardError(f"{key} is {value!r:.100}", expected="a whole number of at most nine digits, 0 or more")
        values[key] = int(value)
    options = _Options(**values)
    if not 2 <= options.colours <= len(COLOURS):
        raise RegardError(f"colours is {options.colours}", expected=f"2 to {len(COLOURS)}")
    if (most := max(options.train, options.val, options.test)) > MOST_IMAGES:
        raise RegardError(f"a split of {most:,} images", expected=f"at most {MOST_IMAGES:,}")
    return options


def _sample(drawn: Scene, task: str) -> Sample:
    sides = drawn.sides[:, None].repeat(2, axis=1)
    boxes = np.concatenate([drawn.corners + sides / 2, sides], axis=1) / SIZE
    class_ids = (drawn.is_odd if task == "context" else drawn.is_square).astype(np.int64)
    return Sample(drawn, boxes, class_ids, drawn.index)
