"""Validation sees every image once, as YOLOv5 v6 places it, however many threads read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from memory_images import SIZES, BrokenImage, record

from regard.data.dataset import Sample
from regard.data.letterbox import letterbox_validation, validation_sizes
from regard.data.validation import CachedBatches, ValidationLoader
from regard.errors import RegardError
from regard.types import LetterboxedBatch


def assert_equal(first: Iterable[LetterboxedBatch], second: Iterable[LetterboxedBatch]) -> None:
    for one, other in zip(first, second, strict=True):
        assert (one.indices, one.placements) == (other.indices, other.placements)
        assert np.array_equal(one.images, other.images)


def test_validation_is_sorted_by_aspect_and_padded_as_needed(records: tuple[Sample, ...]) -> None:
    loader = ValidationLoader(records, imgsz=64, batch=3, workers=0)
    batches = list(loader)
    order = [i for batch in batches for i in batch.indices]
    aspects = [SIZES[i][0] / SIZES[i][1] for i in order]
    assert aspects == sorted(aspects)
    assert sorted(order) == list(range(7))
    assert len(loader) == len(batches) == 3
    expected = validation_sizes([SIZES[i] for i in order], 64, 3)
    assert [batch.images.shape[2:] for batch in batches] == expected
    assert len(set(expected)) > 1


@pytest.mark.parametrize("rect", [True, False])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_images_are_placed_as_yolov5_does_by_any_number_of_threads(
    records: tuple[Sample, ...], rect: bool, workers: int
) -> None:
    seen = []
    for batch in ValidationLoader(records, imgsz=64, batch=3, workers=workers, rect=rect):
        assert batch.images.dtype == np.uint8
        assert batch.images.transpose(0, 2, 3, 1).flags.c_contiguous
        for image, index, placement in zip(batch.images, batch.indices, batch.placements, strict=True):
            expected = letterbox_validation(records[index].image.read(), 64, batch.images.shape[2:])
            assert placement == expected[1]
            assert np.array_equal(image.transpose(1, 2, 0), expected[0])
            seen.append(index)
    assert sorted(seen) == list(range(7))
    assert (seen == sorted(seen)) == (not rect)


def test_square_validation_keeps_the_order_and_pads_to_the_stride(records: tuple[Sample, ...]) -> None:
    batches = list(ValidationLoader(records, imgsz=50, batch=4, workers=0, rect=False))
    assert [batch.indices for batch in batches] == [(0, 1, 2, 3), (4, 5, 6)]
    assert all(batch.images.shape[2:] == (64, 64) for batch in batches)


def test_an_empty_validation_set_has_no_batches() -> None:
    loader = ValidationLoader((), imgsz=64, batch=4, workers=0)
    assert len(loader) == 0
    assert list(loader) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_cost_a_warning_each_until_there_are_too_many(
    records: tuple[Sample, ...], workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tuple(replace(records[k], image=BrokenImage(name)) for k, name in enumerate(("yard.jpg", "street.jpg")))
    batches = iter(ValidationLoader((records[2], *broken), imgsz=64, batch=1, workers=workers, rect=False))
    assert next(batches).indices == (0,)
    assert (next(batches).images == 114).all()
    assert "yard.jpg: the file is not an image" in caplog.text
    with pytest.raises(RegardError, match=r"^street.jpg: the file is not an image$"):
        next(batches)


def test_kept_batches_are_made_once_and_only_when_the_first_pass_ended() -> None:
    loader = ValidationLoader((record(3, 2), record(4, 1), record(5, 0)), imgsz=64, batch=2, workers=0)
    passes: list[int] = []

    class Counted:
        def __iter__(self) -> Iterator[LetterboxedBatch]:
            passes.append(1)
            return iter(loader)

    kept = CachedBatches(Counted())
    next(iter(kept))
    assert_equal(list(loader), list(kept))
    assert len(passes) == 2  # the pass that was given up kept nothing
    assert_equal(list(loader), list(kept))
    assert len(passes) == 2
