"""The detections in one image: an array-like value with selection, merging, tables, JSON, crops and drawings."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regard.errors import RegardError, first_names, nearest
from regard.system.files import write_file
from regard.system.interrupts import interrupts_deferred
from regard.system.notebook import image_html, to_html
from regard.system.terminal import in_notebook, printable

Image: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

COLUMNS = ("source", "class_id", "name", "score", "x1", "y1", "x2", "y2")
"""Columns of a table of detections; the last four are in pixels."""


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """Detections in one image; `regard.predict` sorts them by descending score.

    An index (a number, slice, mask or array of numbers) and each step of an iteration give ``Detections`` of such rows.

    Attributes:
        boxes_xyxy: (N, 4) float32, left, top, right, bottom in pixels of the original image.
        scores: (N,) float32, 0 to 1, for the class in ``class_ids``.
        class_ids: (N,) int64, indices into ``names``.
        names: class names, index to name.
        image_size: (height, width) of the original image in pixels; (0, 0) if unknown.
        source: the source of the image: a path, a URL, ``video.mp4#17`` for a frame, "" for an array.
        read_image: reads the image again, (H, W, 3) uint8 RGB, for drawing and cropping; None if it is not kept.

    Example:
        >>> boxes = np.array([[10, 20, 80, 70], [5, 5, 25, 45]], np.float32)
        >>> names = {0: "cat", 1: "dog"}
        >>> found = Detections(boxes, np.array([0.8, 0.5], np.float32), np.array([0, 1]), names, (90, 120))
        >>> found
        <Detections: 1 cat, 1 dog in an image of 90 x 120>
        >>> found[found.scores > 0.6], [one.class_names[0] for one in found]
        (<Detections: 1 cat in an image of 90 x 120>, ['cat', 'dog'])
        >>> found[::-1] == found, found[[0, 1]] == found, len(found)
        (False, True, 2)
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    names: Mapping[int, str] = field(default_factory=dict)
    image_size: tuple[int, int] = (0, 0)
    source: str = ""
    read_image: Callable[[], Image] | None = None

    def __post_init__(self) -> None:
        """Take lists as arrays and names as a list too; reject arrays that do not belong together."""
        boxes = np.asarray(self.boxes_xyxy, dtype=np.float32)
        arrays: tuple[NDArray[Any], ...] = (
            boxes if boxes.size else boxes.reshape(0, 4),
            np.asarray(self.scores, dtype=np.float32),
            np.asarray(self.class_ids, dtype=np.int64),
        )
        shapes = tuple(array.shape for array in arrays)
        if shapes != ((len(arrays[1]), 4), (len(arrays[1]),), (len(arrays[1]),)):
            what = "boxes_xyxy, scores and class_ids have the shapes {}, {} and {}".format(*shapes)
            raise RegardError(what, expected="(N, 4), (N,) and (N,)")
        for name, array in zip(("boxes_xyxy", "scores", "class_ids"), arrays, strict=True):
            object.__setattr__(self, name, array)
        if not isinstance(self.names, Mapping):
            object.__setattr__(self, "names", dict(enumerate(self.names)))

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detections]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int | slice | ArrayLike) -> Detections:
        rows: Any = index
        if not isinstance(index, slice):
            rows = np.asarray(index)
            rows = np.atleast_1d(rows.astype(np.int64) if rows.size == 0 and rows.dtype != bool else rows)
        chosen = self.boxes_xyxy[rows], self.scores[rows], self.class_ids[rows]
        return replace(self, boxes_xyxy=chosen[0], scores=chosen[1], class_ids=chosen[2])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Detections):
            return NotImplemented
        mine, theirs = ((dict(one.names), tuple(one.image_size), one.source) for one in (self, other))
        return mine == theirs and all(map(np.array_equal, self._arrays, other._arrays))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        counts = Counter(self.class_names)
        counted = ", ".join(f"{count} {name}" for name, count in counts.most_common(5)) or "nothing"
        more = f" and {len(counts) - 5} more classes" if len(counts) > 5 else ""
        height, width = self.image_size
        return printable(f"<Detections: {counted}{more} in {self.source or 'an image'} of {height} x {width}>")

    @property
    def _arrays(self) -> tuple[NDArray[Any], ...]:
        return self.boxes_xyxy, self.scores, self.class_ids

    @property
    def class_names(self) -> list[str]:
        """Class name of each detection."""
        return [self.names.get(class_id, str(class_id)) for class_id in self.class_ids.tolist()]

    def filter(self, classes: str | int | Iterable[str | int] | None = None, conf: float | None = None) -> Detections:
        """Select detections of some classes, given by name or index, with a score of at least ``conf``.

        Raises:
            RegardError: there is no such class, or ``conf`` is not within 0 and 1.

        Example:
            >>> boxes, names = np.zeros((2, 4), np.float32), {0: "cat", 1: "dog"}
            >>> found = Detections(boxes, np.array([0.8, 0.5], np.float32), np.array([0, 1]), names)
            >>> found.filter("dog").scores.tolist(), len(found.filter(["cat", 1], conf=0.6))
            ([0.5], 1)
        """
        keep = np.ones(len(self), dtype=np.bool_)
        if classes is not None:
            several = [classes] if isinstance(classes, str | int | np.integer) else classes
            keep &= np.isin(self.class_ids, [i for wanted in several for i in self._ids_of(wanted)])
        if conf is not None:
            if isinstance(conf, str) or not 0 <= conf <= 1:
                raise RegardError(f"conf is {conf!r}", expected="a number from 0 to 1")
            keep &= self.scores >= np.float32(conf)
        return self[keep]

    def with_nms(self, iou: float, *, agnostic: bool = False) -> Detections:
        """Drop each box that overlaps a better one of its class (``agnostic``: of any class) by more than ``iou``.

        Raises:
            RegardError: ``iou`` is not within 0 and 1.

        Example:
            >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10]], np.float32)
            >>> found = Detections(boxes, np.array([0.5, 0.8], np.float32), np.array([0, 0]), {0: "cat"})
            >>> found.with_nms(0.5).boxes_xyxy.tolist()
            [[1.0, 0.0, 10.0, 10.0]]
        """
        from regard.geometry.nms import greedy

        if not 0 <= iou <= 1:
            raise RegardError(f"iou is {iou}", expected="a number from 0 to 1")
        best_first = self[np.argsort(-self.scores, kind="stable")]
        groups = np.zeros_like(best_first.class_ids) if agnostic else best_first.class_ids
        return best_first[greedy(best_first.boxes_xyxy, groups, iou, len(self))]

    @staticmethod
    def merge(several: Iterable[Detections]) -> Detections:
        """Combine detections in the same image, for example of several models, best score first; see `with_nms`.

        Raises:
            RegardError: their class names or the sizes of their images differ, or one is something else.

        Example:
            >>> one = Detections(np.zeros((1, 4), np.float32), np.array([0.5], np.float32), np.array([0]), {0: "cat"})
            >>> len(Detections.merge([one, one]))
            2
        """
        several = list(several)
        if others := [type(one).__name__ for one in several if not isinstance(one, Detections)]:
            raise RegardError(f"cannot merge {others[0]}", expected="Detections")
        if not several:
            return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
        for other in several[1:]:
            if dict(other.names) != dict(several[0].names):
                raise RegardError(f"the class names differ: {_listed(other.names)}", expected=_listed(several[0].names))
        sizes = {tuple(one.image_size) for one in several} - {(0, 0)}
        if len(sizes) > 1:
            raise RegardError(f"images of the sizes {sorted(sizes)}", expected="detections in one image")
        first = next((one for one in several if tuple(one.image_size) != (0, 0)), several[0])
        if len({one.source for one in several}) > 1:
            first = replace(first, source="", read_image=None)
        boxes, scores, class_ids = map(np.concatenate, zip(*(one._arrays for one in several), strict=True))
        merged = replace(first, boxes_xyxy=boxes, scores=scores, class_ids=class_ids)
        return merged[np.argsort(-scores, kind="stable")]

    def to_dict(self) -> dict[str, Any]:
        """Convert to values for JSON, as `regard predict` writes them: boxes to 0.01 pixels, scores to 5 digits.

        Example:
            >>> boxes = np.array([[10, 20, 80, 70]], np.float32)
            >>> found = Detections(boxes, np.array([0.8], np.float32), np.array([0]), {0: "cat"}, (90, 120), "a.jpg")
            >>> found.to_dict()["detections"]
            [{'class_id': 0, 'name': 'cat', 'score': 0.8, 'box_xyxy': [10.0, 20.0, 80.0, 70.0]}]
        """
        height, width = self.image_size
        values = (array.tolist() for array in (self.class_ids, self.scores, self.boxes_xyxy))
        found = [
            {
                "class_id": class_id,
                "name": name,
                "score": round(score, 5),
                "box_xyxy": [round(value, 2) for value in box],
            }
            for name, class_id, score, box in zip(self.class_names, *values, strict=True)
        ]
        return {"source": self.source, "width": width, "height": height, "detections": found}

    def to_json(self, indent: int | None = None) -> str:
        """Write `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    @interrupts_deferred()
    def to_pandas(self) -> Any:
        """Convert to a ``pandas.DataFrame`` with the columns ``source, class_id, name, score, x1, y1, x2, y2``.

        Raises:
            RegardError: the optional package ``pandas`` is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise RegardError("to_pandas needs the package pandas", hint='pip install "regard[pandas]"') from error
        values = [[self.source] * len(self), self.class_ids, self.class_names, self.scores, *self.boxes_xyxy.T]
        return pandas.DataFrame(dict(zip(COLUMNS, values, strict=True)))

    @interrupts_deferred()
    def to_supervision(self) -> Any:
        """Convert to ``supervision.Detections``.

        Raises:
            ImportError: the optional package ``supervision`` is not installed.
        """
        import supervision

        data: dict[str, Any] = {"class_name": np.array(self.class_names, dtype=str)}
        return supervision.Detections(self.boxes_xyxy, confidence=self.scores, class_id=self.class_ids, data=data)

    @staticmethod
    def from_supervision(
        detections: Any, names: Mapping[int, str] | None = None, image_size: tuple[int, int] = (0, 0), source: str = ""
    ) -> Detections:
        """Convert ``supervision.Detections``; without scores, as of labels, they are 1, without class ids they are 0.

        Args:
            detections: of one image, in pixels.
            names: index to name; those in ``detections.data["class_name"]`` if not given, else the ids.
            image_size, source: (height, width) and source of the image.

        Raises:
            RegardError: it is something else, has scores beyond 0 to 1, or class ids that are missing or unknown.
        """
        if not hasattr(detections, "xyxy"):
            raise RegardError(f"cannot convert {type(detections).__name__}", expected="supervision.Detections")
        some = np.zeros(len(detections.xyxy))
        scores = np.asarray(some + 1 if detections.confidence is None else detections.confidence, dtype=np.float32)
        ids = np.asarray(some if detections.class_id is None else detections.class_id, dtype=np.int64)
        if names is None:
            stated = detections.data.get("class_name", ids)
            names = {int(i): str(name) for i, name in zip(ids, stated, strict=True) if i >= 0}
        if not ((scores >= 0) & (scores <= 1)).all():
            raise RegardError("a score is out of range", expected="scores from 0 to 1")
        found = Detections(np.reshape(detections.xyxy, (-1, 4)), scores, ids, names, image_size, source)
        if len(ids) and detections.class_id is None and len(found.names) > 1:
            raise RegardError("the detections have no class ids", expected=f"ids of {_listed(found.names)}")
        if unknown := {*ids.tolist()} - {*found.names}:
            raise RegardError(f"no class has the id {min(unknown)}", expected=_listed(found.names) or "ids from 0")
        return found

    def crop(self, image: Image | None = None) -> list[Image]:
        """Cut each box out of the image, as copies of (h, w, 3); a box rounds outwards to whole pixels.

        Args:
            image: the (H, W, 3) uint8 RGB image; read again if not given.

        Raises:
            RegardError: the image is of another size, or is not given and cannot be read again.

        Example:
            >>> boxes = np.array([[10.2, 20, 80, 70]], np.float32)
            >>> found = Detections(boxes, np.array([0.8], np.float32), np.array([0]), {0: "cat"}, (90, 120))
            >>> [part.shape for part in found.crop(np.zeros((90, 120, 3), np.uint8))]
            [(50, 70, 3)]
        """
        pixels = self._pixels(image)
        height, width = pixels.shape[:2]
        starts = np.floor(self.boxes_xyxy[:, :2]).clip(0, (width - 1, height - 1)).astype(int)
        ends = np.maximum(np.ceil(self.boxes_xyxy[:, 2:]).clip(0, (width, height)).astype(int), starts + 1)
        corners = np.concatenate((starts, ends), axis=1).tolist()
        return [pixels[top:bottom, left:right].copy() for left, top, right, bottom in corners]

    def draw(self, image: Image | None = None) -> Image:
        """Draw boxes, class names and scores on a copy of the image; see `crop` for the argument and the errors.

        Example:
            >>> boxes = np.array([[10, 20, 80, 70]], np.float32)
            >>> found = Detections(boxes, np.array([0.8], np.float32), np.array([0]), {0: "cat"}, (90, 120))
            >>> found.draw(np.zeros((90, 120, 3), np.uint8))[20, 40].tolist()
            [255, 92, 92]
        """
        return self._draw(self._pixels(image))

    def save(self, path: str | Path, image: Image | None = None) -> Path:
        """Save the drawn image, in the format of the suffix; a file of that name is replaced, except the source.

        Raises:
            RegardError: as for `crop`, or the path is that of the source or cannot be written.

        Example:
            >>> nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
            >>> nothing.save("drawn.png", np.zeros((9, 12, 3), np.uint8)).name
            'drawn.png'
        """
        from regard.drawing import encode_image

        path = Path(path)
        if os.path.exists(path) and os.path.exists(self.source) and os.path.samefile(path, self.source):
            raise RegardError("this is the image itself, which is not replaced", file=path, hint="give another name")
        try:
            data = encode_image(self.draw(image), path.suffix.lower())
        except OSError as error:
            raise RegardError(str(error), file=path, expected="a suffix such as .jpg, .png or .webp") from error
        write_file(path, data)
        return path

    @interrupts_deferred()
    def show(self, image: Image | None = None) -> None:
        """Show the drawn image in a notebook or, elsewhere, in the system's viewer; a small image is enlarged first.

        Raises:
            RegardError: as for `crop`, or the system has no viewer.
        """
        from PIL import Image as PillowImage
        from PIL import ImageShow

        drawn = PillowImage.fromarray(self._draw(self._pixels(image), larger=True))
        if in_notebook():
            from IPython.display import display

            display(drawn)
        elif not ImageShow.show(drawn):
            raise RegardError("this system has no program that shows images", hint="use save(path)")

    @interrupts_deferred()
    def _repr_png_(self) -> bytes | None:
        return self._drawn(".png")

    @interrupts_deferred()
    def _repr_html_(self) -> str:
        from regard.system.plain_table import PlainTable

        table = PlainTable(*COLUMNS[2:])
        for name, score, box in zip(self.class_names, self.scores.tolist(), self.boxes_xyxy.tolist(), strict=True):
            table.add_row(name, f"{score:.3f}", *(f"{value:.1f}" for value in box))
        drawn = self._drawn(".jpg")
        return to_html(repr(self)) + (image_html(drawn, "jpeg", repr(self)) if drawn else "") + to_html(table)

    def _drawn(self, suffix: str) -> bytes | None:
        """Encode the drawn image for a notebook; None if the image cannot be read again."""
        from regard.drawing import encode_image, shrink

        try:
            return encode_image(shrink(self._draw(self._pixels(None), larger=True)), suffix)
        except RegardError:
            return None

    def _draw(self, pixels: Image, *, larger: bool = False) -> Image:
        from regard.drawing import draw_detections

        return draw_detections(pixels, self.boxes_xyxy, self.class_ids, self.class_names, self.scores, larger=larger)

    def _pixels(self, image: Image | None) -> Image:
        if image is None and self.read_image is None:
            raise RegardError("the image was not kept", expected="the image as an (H, W, 3) uint8 RGB array")
        pixels = self.read_image() if image is None and self.read_image else np.asarray(image)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            what = f"an image of shape {pixels.shape} and type {pixels.dtype}"
            raise RegardError(what, expected="(H, W, 3) uint8, RGB")
        if pixels.shape[:2] != (size := tuple(self.image_size)) and size != (0, 0):
            expected = f"{size[0]} x {size[1]}, as detected in"
            raise RegardError("an image of {} x {} pixels".format(*pixels.shape[:2]), expected=expected)
        return pixels

    def _ids_of(self, wanted: str | int) -> list[int]:
        """Indices of the classes of a name or index; a name that no class has may be an index in digits."""
        found = [i for i, name in self.names.items() if wanted in (i, name)]
        if not found and isinstance(wanted, str) and wanted.isdecimal() and int(wanted) in self.names:
            return [int(wanted)]
        if not found:
            near = nearest(str(wanted), self.names.values())
            raise RegardError(f"unknown class {wanted!r}", expected=_listed(self.names), hint=near)
        return found


def _listed(names: Mapping[int, str]) -> str:
    return first_names([f"{i} ({name})" for i, name in names.items()], 20)
