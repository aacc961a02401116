"""Images for validation where none are named: a reproducible fraction, near-duplicates on one side."""

from __future__ import annotations

import numpy as np
import pytest
from memory_images import MemoryImage

from regard.data.dataset import DetectionDataset, Sample
from regard.data.split import divide
from regard.errors import RegardError


def _sample(name: str, pixels: np.ndarray) -> Sample:
    return Sample(MemoryImage(name, pixels), np.array([[0.5, 0.5, 0.1, 0.1]]), np.array([0]), 0)


def _samples(count: int, copies: int = 1) -> tuple[Sample, ...]:
    """Random images, each with copies that differ by noise."""
    rng = np.random.default_rng(7)
    samples = []
    for k in range(count):
        scene = rng.integers(40, 200, (7, 11, 3)).repeat(13, 0).repeat(17, 1)
        for copy in range(copies):
            noisy = (scene + rng.integers(-3, 4, scene.shape)).astype(np.uint8)
            samples.append(_sample(f"scene {k} copy {copy}", noisy))
    return tuple(samples)


def _data(**splits: tuple[Sample, ...]) -> DetectionDataset:
    return DetectionDataset(("cat",), splits, "yolo", "pets")


def _names(samples: tuple[Sample, ...]) -> list[str]:
    return [sample.image.name for sample in samples]


@pytest.mark.parametrize("source", ["all", "train"])
def test_a_fraction_is_validated_on_and_the_order_stays(source: str) -> None:
    samples = _samples(29)
    data = divide(_data(**{source: samples}, test=samples[:2]), 0.2, 0)
    assert list(data.splits) == ["train", "val", "test"]
    assert (len(data.splits["train"]), len(data.splits["val"])) == (23, 6)
    assert sorted(_names(data.splits["train"] + data.splits["val"])) == sorted(_names(samples))
    assert _names(data.splits["val"]) == [name for name in _names(samples) if name in _names(data.splits["val"])]
    assert [problem.kind for problem in data.problems] == ["no split"]


def test_the_seed_decides() -> None:
    data = _data(all=_samples(29))
    assert divide(data, 0.3, 1) == divide(data, 0.3, 1)
    assert _names(divide(data, 0.3, 1).splits["val"]) != _names(divide(data, 0.3, 2).splits["val"])


def test_near_duplicates_are_on_one_side() -> None:
    data = divide(_data(all=_samples(11, copies=3)), 0.25, 0)
    train, val = ({name[:8] for name in _names(data.splits[split])} for split in ("train", "val"))
    assert not train & val
    assert 6 <= len(data.splits["val"]) <= 10


def test_copies_of_one_original_are_on_one_side() -> None:
    named = [f"photo{k // 3}_jpg.rf.{k:032x}.jpg" for k in range(33)]
    samples = tuple(_sample(name, sample.image.read()) for name, sample in zip(named, _samples(33), strict=True))
    data = divide(_data(train=samples), 0.25, 0)
    train, val = ({name.split("_")[0] for name in _names(data.splits[split])} for split in ("train", "val"))
    assert val
    assert not train & val


@pytest.mark.parametrize("count", [2, 5])
def test_images_that_all_look_alike_are_divided_anyway(count: int) -> None:
    samples = tuple(_sample(str(k), np.zeros((31, 37, 3), np.uint8)) for k in range(count))
    assert len(divide(_data(all=samples), 0.2, 0).splits["val"]) == 1


def test_data_with_a_val_split_or_without_train_stay() -> None:
    samples = _samples(3)
    for splits in ({"train": samples, "val": ()}, {"test": samples}):
        data = _data(**splits)
        assert divide(data, 0.2, 0) is data


def test_one_image_cannot_be_divided() -> None:
    with pytest.raises(RegardError, match="cannot be divided"):
        divide(_data(all=_samples(1)), 0.2, 0)
