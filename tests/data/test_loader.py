from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from memory_images import BrokenImage
from numpy.typing import NDArray

from regard.config import AugmentSettings
from regard.data.dataset import Sample
from regard.data.images import ImageFile
from regard.data.letterbox import fit_long_side, letterbox_validation
from regard.data.loader import TrainLoader, _report
from regard.errors import RegardError
from regard.types import Batch

STILL = AugmentSettings(mosaic=0, translate=0, scale=0, fliplr=0, hsv_h=0, hsv_s=0, hsv_v=0)


def train_loader(records: tuple[Sample, ...], **options: object) -> TrainLoader:
    defaults: dict[str, object] = {"settings": AugmentSettings(), "imgsz": 64, "batch": 3, "seed": 5, "workers": 0}
    return TrainLoader(records, **(defaults | options))  # type: ignore[arg-type]


def assert_equal(first: Iterator[Batch] | list[Batch], second: Iterator[Batch] | list[Batch]) -> None:
    for one, other in zip(first, second, strict=True):
        assert one.indices == other.indices
        assert torch.equal(one.images, other.images)
        for name in ("image_index", "class_ids", "boxes_cxcywh"):
            assert torch.equal(getattr(one.targets, name), getattr(other.targets, name))


def test_an_epoch_has_every_image_once_in_an_order_of_its_own(records: tuple[Sample, ...]) -> None:
    loader = train_loader(records)
    orders = [[i for batch in loader.epoch(epoch) for i in batch.indices] for epoch in range(3)]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert len(loader) == 3
    assert [len(batch.indices) for batch in loader.epoch(0)] == [3, 3, 1]


def test_batches_have_the_promised_shapes_and_types(records: tuple[Sample, ...]) -> None:
    for batch in train_loader(records).epoch(0):
        count, boxes = len(batch.indices), len(batch.targets)
        assert (batch.images.shape, batch.images.dtype) == ((count, 3, 64, 64), torch.uint8)
        assert batch.targets.image_index.dtype == batch.targets.class_ids.dtype == torch.int64
        assert (batch.targets.boxes_cxcywh.shape, batch.targets.boxes_cxcywh.dtype) == ((boxes, 4), torch.float32)
        assert ((batch.targets.image_index >= 0) & (batch.targets.image_index < count)).all()
        centre, side = batch.targets.boxes_cxcywh[:, :2], batch.targets.boxes_cxcywh[:, 2:]
        assert ((centre - side / 2 > -1e-6) & (centre + side / 2 < 1 + 1e-6)).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_same_batches(records: tuple[Sample, ...], workers: int) -> None:
    settings = AugmentSettings(mixup=0.5, degrees=10)
    here, there = (train_loader(records, settings=settings, workers=n) for n in (0, workers))
    for epoch in (0, 2, 1):
        assert_equal(here.epoch(epoch), there.epoch(epoch))
    assert_equal(here.epoch(1, mosaic=False), there.epoch(1, mosaic=False))


def test_an_epoch_given_up_midway_leaves_no_trace(records: tuple[Sample, ...]) -> None:
    loader = train_loader(records, workers=1)
    expected = list(train_loader(records).epoch(1))
    next(loader.epoch(0))
    assert_equal(expected, loader.epoch(1))


def test_seeds_and_epochs_differ_but_torch_is_left_alone(records: tuple[Sample, ...]) -> None:
    state = torch.get_rng_state()
    first = next(train_loader(records).epoch(0)).images
    assert not torch.equal(first, next(train_loader(records, seed=6).epoch(0)).images)
    assert not torch.equal(first, next(train_loader(records).epoch(1)).images)
    assert torch.equal(state, torch.get_rng_state())


def test_two_processes_see_together_what_one_sees(records: tuple[Sample, ...]) -> None:
    whole = list(train_loader(records, batch=5).epoch(3))
    shards = [list(train_loader(records, batch=5, rank=rank, world_size=2).epoch(3)) for rank in (0, 1)]
    assert len(whole) == len(shards[0]) == len(shards[1]) == 2
    for step, batch in enumerate(whole):
        for rank, shard in enumerate(shards):
            assert shard[step].indices == batch.indices[rank::2]
            assert torch.equal(shard[step].images, batch.images[rank::2])
        for place in range(len(batch.indices)):
            part, local = shards[place % 2][step].targets, place // 2
            expected = batch.targets.boxes_cxcywh[batch.targets.image_index == place]
            assert torch.equal(part.boxes_cxcywh[part.image_index == local], expected)


def test_a_last_batch_too_small_for_all_processes_is_left_out(records: tuple[Sample, ...]) -> None:
    loaders = [train_loader(records, batch=3, rank=rank, world_size=2) for rank in (0, 1)]
    assert [len(loader) for loader in loaders] == [2, 2]
    assert [len(list(loader.epoch(0))) for loader in loaders] == [2, 2]
    with pytest.raises(RegardError, match="7 training images in batches of 1 for 2"):
        train_loader(records, batch=1, world_size=2)
    with pytest.raises(RegardError, match="0 training images"):
        train_loader(())


def test_an_image_is_varied_in_each_epoch(records: tuple[Sample, ...]) -> None:
    loader = train_loader(records[:1])
    (first,), (second,) = loader.epoch(0), loader.epoch(1)
    assert not torch.equal(first.images, second.images)


@pytest.mark.parametrize("mosaic", [0, 1])
def test_without_augmentation_images_are_letterboxed_with_their_boxes(
    records: tuple[Sample, ...], mosaic: float
) -> None:
    settings = STILL.model_copy(update={"mosaic": mosaic})
    for batch in train_loader(records, settings=settings, imgsz=32).epoch(0, mosaic=False):
        for place, index in enumerate(batch.indices):
            expected, placement = letterbox_validation(records[index].image.read(), 32, (32, 32))
            assert np.array_equal(batch.images[place].permute(1, 2, 0).numpy(), expected)
            boxes = batch.targets.boxes_cxcywh[batch.targets.image_index == place].numpy() * 32
            truth = records[index].boxes_cxcywh * (np.array(records[index].image.read().shape)[[1, 0, 1, 0]])
            truth *= placement.scale * 2
            truth[:, :2] += placement.pad
            np.testing.assert_allclose(boxes, truth, atol=0.5001)


def test_crowds_are_not_learned_from(records: tuple[Sample, ...]) -> None:
    crowded = replace(records[3], crowd=np.array([True, False, True]))
    (batch,) = train_loader((crowded,), settings=STILL).epoch(0)
    assert batch.targets.class_ids.tolist() == [records[3].class_ids[1]]


@pytest.mark.parametrize("index", [0, 3])
def test_one_image_with_or_without_boxes(records: tuple[Sample, ...], index: int) -> None:
    (batch,) = train_loader((records[index],), settings=AugmentSettings(mixup=1), batch=16).epoch(0)
    assert batch.images.shape == (1, 3, 64, 64)
    assert (len(batch.targets) > 0) == (index == 3)


@pytest.fixture
def files(records: tuple[Sample, ...], tmp_path: Path) -> tuple[Sample, ...]:
    (tmp_path / "images").mkdir()
    stored = []
    for k, one in enumerate(records):
        path = tmp_path / "images" / f"{k}.bmp"
        cv2.imwrite(str(path), one.image.read()[..., ::-1])
        stored.append(replace(one, image=ImageFile(path)))
    return tuple(stored)


@pytest.mark.parametrize("workers", [0, 2])
def test_caches_change_nothing(files: tuple[Sample, ...], tmp_path: Path, workers: int) -> None:
    expected = list(train_loader(files, imgsz=32).epoch(0))
    assert_equal(expected, train_loader(files, imgsz=32, cache="ram", workers=workers).epoch(0))
    folder = tmp_path / "cache"
    for _ in ("written", "read"):
        loader = train_loader(files, imgsz=32, cache="disk", cache_dir=folder, workers=workers)
        assert_equal(expected, loader.epoch(0))
        assert {path.suffix for path in folder.iterdir()} == {".npy"}
        assert len(list(folder.iterdir())) == 7
    assert len(list((tmp_path / "images").iterdir())) == 7


def test_disk_cache_is_read_until_the_file_changes(files: tuple[Sample, ...], tmp_path: Path) -> None:
    one = files[:1]

    def image() -> NDArray[np.uint8]:
        options = {"settings": STILL, "imgsz": 61, "cache": "disk", "cache_dir": tmp_path / "cache"}
        (batch,) = train_loader(one, **options).epoch(0)
        return batch.images[0, :, 10:51].permute(1, 2, 0).numpy()

    np.testing.assert_array_equal(image(), fit_long_side(one[0].image.read(), 61))
    (entry,) = (tmp_path / "cache").iterdir()
    np.save(entry, np.full((41, 61, 3), 7, dtype=np.uint8))
    assert (image() == 7).all()
    path = Path(one[0].image.name)
    cv2.imwrite(str(path), np.full((41, 61, 3), 9, dtype=np.uint8))
    os.utime(path, (1, 1))
    assert (image() == 9).all()


def test_disk_cache_needs_a_folder_and_leaves_drawn_images_alone(records: tuple[Sample, ...], tmp_path: Path) -> None:
    with pytest.raises(RegardError, match="no folder"):
        train_loader(records, cache="disk")
    next(train_loader(records, cache="disk", cache_dir=tmp_path / "cache").epoch(0))
    assert list((tmp_path / "cache").iterdir()) == []


def test_pixels_lie_channels_last(records: tuple[Sample, ...]) -> None:
    batch = next(train_loader(records).epoch(0))
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_rect_training_batches_like_shapes(records: tuple[Sample, ...]) -> None:
    loader = train_loader(records, imgsz=128, batch=2, rect=True, settings=AugmentSettings(scale=0, translate=0))
    epochs = [list(loader.epoch(epoch)) for epoch in range(4)]
    assert len({tuple(batch.indices for batch in epoch) for epoch in epochs}) > 1
    for epoch in epochs:
        assert sorted(i for batch in epoch for i in batch.indices) == list(range(7))
        assert {tuple(batch.images.shape[2:]) for batch in epoch} == {(96, 128), (128, 128), (128, 96)}
        assert sum(len(batch.targets) for batch in epoch) == sum(len(one.class_ids) for one in records)


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_an_unreadable_image_costs_a_warning(
    records: tuple[Sample, ...], cache: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken = (replace(records[0], image=BrokenImage("street.jpg")), *records[1:3])
    loader = train_loader(broken, settings=STILL, cache=cache, workers=0)
    batches = [batch for epoch in range(2) for batch in loader.epoch(epoch)]
    assert [record.getMessage()[:10] for record in caplog.records] == ["street.jpg"]  # once
    for batch in batches:
        for row, index in enumerate(batch.indices):
            boxes = int((batch.targets.image_index == row).sum())
            assert boxes == (0 if index == 0 else len(records[index].class_ids))
            assert bool((batch.images[row] == 114).all()) == (index == 0)


@pytest.mark.parametrize("workers", [0, 1])
def test_many_unreadable_images_are_one_clear_error(records: tuple[Sample, ...], workers: int) -> None:
    broken = (replace(records[0], image=BrokenImage("street.jpg")),)
    with pytest.raises(RegardError) as caught:
        list(train_loader(broken, workers=workers).epoch(0))
    assert str(caught.value) == "street.jpg: the file is not an image"
    assert caught.value.file == "street.jpg"


def test_what_workers_are_sent_can_be_pickled(records: tuple[Sample, ...]) -> None:
    """Platforms that spawn their processes pickle the data set."""
    data = train_loader(records)._loader.dataset
    assert len(pickle.dumps(data)) > 0


def test_a_worker_is_silent_when_nobody_reads_any_more(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (ConnectionResetError(), EOFError(), OSError("a fault")):
        _report(type(error), error, None)
    assert capsys.readouterr().err == "OSError: a fault\n"
