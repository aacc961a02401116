"""What people usually do, such as testing on val or ending a training by the clock, is no fault of a run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from run_folders import PACKAGES, Run, curve
from test_unknown import change, outcome

from regard.data.check import check_data
from regard.data.formats import load_data
from regard.diagnosis.case import Case
from regard.diagnosis.findings import Finding
from regard.diagnosis.packages import read_run

COPIES = ("same_images", "duplicates", "near_duplicates")
SAME = "path: .\ntrain: images/train\nval: images/val\ntest: {test}\nnames: [cat, dog]\n"


@pytest.mark.parametrize("package", PACKAGES)
def test_images_that_are_in_val_and_test_were_not_trained_on(package: str, tmp_path: Path) -> None:
    run = Run(tmp_path, package)
    case = Case(read_run(run.write_texts()))
    (run.data / "data.yaml").write_text(SAME.format(test="images/val"))
    assert [outcome(cause, Case(case.run)) for cause in COPIES] == [None] * 3
    done = {p.found: p.done for p in check_data(load_data(run.data)).problems if p.kind == "splits overlap"}
    assert done == {"5 images of test are also in val": "kept; test scores say no more than val scores"}
    shutil.copytree(run.data / "images/val", run.data / "images/test")
    shutil.copytree(run.data / "labels/val", run.data / "labels/test")
    (run.data / "data.yaml").write_text(SAME.format(test="images/test"))
    assert [outcome(cause, Case(case.run)) for cause in COPIES] == [None] * 3
    (run.data / "data.yaml").write_text(SAME.format(test="images/train"))
    found = outcome("same_images", Case(case.run))
    assert isinstance(found, Finding)
    assert "16 images of test are also in train" in found.evidence


@pytest.mark.parametrize(("seconds", "planned"), [(3590.0, 41), (360.0, 410), (7000.0, 41)])
def test_a_training_of_an_hour_is_as_long_as_the_hour(seconds: float, planned: int, tmp_path: Path) -> None:
    times = [seconds * (i + 1) / 41 for i in range(41)]
    run = Run(tmp_path, "ultralytics", epochs=100, ap=curve(41), columns={"time": times})
    record = read_run(change(run.write_texts(), "ultralytics", time=1.0))
    assert record.epochs == planned
    assert isinstance(outcome("early_stop", Case(record)), Finding) == (planned > 41)


@pytest.mark.parametrize("path", ["../datasets/cards", "../datasets/cards/"])
def test_a_data_set_beside_a_repository_is_found_from_anywhere(path: str, tmp_path: Path) -> None:
    run = Run(tmp_path, "yolov5")
    folder = tmp_path / "repo" / "runs" / "train" / "exp"
    shutil.copytree(run.write_texts(), folder)
    shutil.copytree(run.data, tmp_path / "datasets" / "cards")
    shutil.rmtree(run.data)
    (tmp_path / "repo" / "data").mkdir()
    (tmp_path / "repo" / "data" / "cards.yaml").write_text(
        f"path: {path}\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n"
    )
    case = Case(read_run(change(folder, "yolov5", data="data/cards.yaml")))
    assert len(case.dataset.splits["train"]) == 16


@pytest.mark.parametrize(
    ("names", "is_fault"), [(("cat", "dog"), False), (("cat", "dog", "owl"), False), (("cat",), True)]
)
def test_a_folder_without_class_names_has_no_classes_in_another_order(
    names: tuple[str, ...], is_fault: bool, tmp_path: Path
) -> None:
    run = Run(tmp_path, "regard")
    record = replace(read_run(run.write_texts()), data_names=names)
    (run.data / "data.yaml").unlink()
    found = outcome("class_order", Case(record))
    assert isinstance(found, Finding) if is_fault else found == "the data set states no class names"


def test_a_training_by_the_clock_that_was_resumed_has_no_known_length(tmp_path: Path) -> None:
    times = [80.0 * (i % 20 + 1) for i in range(41)]  # each start counts anew
    run = Run(tmp_path, "ultralytics", epochs=100, ap=curve(41), columns={"time": times})
    assert read_run(change(run.write_texts(), "ultralytics", time=1.0)).epochs == 41
