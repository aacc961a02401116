"""What a run folder does not state is listed as not checked, and never counts as healthy or as a fault."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from run_folders import PACKAGES, Run, curve, detector_of, graph_of, write_data, write_image
from test_doctor import lost_its_weights

import regard
from regard.diagnosis import CAUSES
from regard.diagnosis.case import Case
from regard.diagnosis.findings import Finding, NotChecked
from regard.diagnosis.packages import read_run
from regard.diagnosis.record import TrainingRecord
from regard.errors import RegardError
from regard.weights.detector import save_detector

SETTINGS = {"yolov5": "opt.yaml", "ultralytics": "args.yaml"}


def change(folder: Path, package: str, **values: Any) -> Path:
    file = folder / SETTINGS[package]
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **values}, sort_keys=False))
    return folder


def outcome(cause: str, case: Case) -> Finding | str | None:
    """What a cause finds, or the reason why it does not check."""
    try:
        return CAUSES[cause](case)
    except NotChecked as reason:
        return str(reason)


def without_val(run: Run) -> Path:
    """Remove the val split of its data; the folder of the run states that four of 16 images were drawn."""
    for part in ("images", "labels"):
        shutil.rmtree(run.data / part / "val")
    (run.data / "data.yaml").write_text("path: .\ntrain: images/train\nnames: [cat, dog]\n")
    return run.write_texts()


SPLIT_CAUSES = ("labels", "same_images", "duplicates", "near_duplicates")


def test_a_val_split_that_the_run_drew_is_drawn_again(tmp_path: Path) -> None:
    run = Run(tmp_path, "regard")
    record = replace(read_run(without_val(run)), images=13, val_images=3, drawn=(0.2, 0))
    assert [outcome(cause, Case(record)) for cause in SPLIT_CAUSES] == [None] * 4
    assert {name: len(samples) for name, samples in Case(record).halves.splits.items()} == {"train": 13, "val": 3}
    for sample in Case(record).halves.splits["val"]:
        (run.data / "labels/train" / Path(sample.image.name).with_suffix(".txt").name).write_text("")
    found = outcome("labels", Case(record))
    assert isinstance(found, Finding)
    assert "of val" in found.evidence


@pytest.mark.parametrize(
    ("changes", "images", "reason"),
    [
        ({"drawn": (0.2, 0), "images": 14, "val_images": 5}, True, "has changed"),
        ({"drawn": (0.2, 0)}, False, "--quick"),
        ({"drawn": None}, True, "no val images"),
    ],
)
def test_causes_in_a_val_split_that_is_not_known_are_not_checked(
    changes: dict[str, Any], images: bool, reason: str, tmp_path: Path
) -> None:
    record = replace(read_run(without_val(Run(tmp_path, "regard"))), **changes)
    for cause in SPLIT_CAUSES:
        assert reason in str(outcome(cause, Case(record, images=images)))


@pytest.mark.parametrize("package", ["yolov5", "ultralytics"])
def test_a_resumed_run_is_not_compared_with_itself(package: str, tmp_path: Path) -> None:
    folder = Run(tmp_path, package).write_texts()
    last = folder / "weights" / "last.pt"
    last.parent.mkdir()
    last.write_bytes(b"not opened")
    key = "weights" if package == "yolov5" else "model"
    stated = Case(read_run(change(folder, package, **{key: str(last)})))
    assert "of the run itself" in str(outcome("start_weights", stated))
    resumed = Case(read_run(change(folder, package, **{key: "runs/exp/weights/last.pt"}, resume=True)))
    assert "does not state what training started from" in str(outcome("start_weights", resumed))


def test_relative_paths_are_those_of_the_run_and_not_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    folder = change(Run(tmp_path / "own", "yolov5").write_texts(), "yolov5", data="data/data.yaml")
    write_data(tmp_path / "cwd" / "data")
    monkeypatch.chdir(tmp_path / "cwd")
    case = Case(read_run(folder))
    assert Path(case.data_place) == tmp_path / "own" / "data" / "data.yaml"
    found = regard.doctor(folder, quick=True)
    assert found.data == case.data_place
    assert case.data_place in str(found)
    assert "data set: " in found._repr_html_()
    shutil.rmtree(tmp_path / "own" / "data")
    assert Path(Case(read_run(folder)).data_place).resolve() == tmp_path / "cwd" / "data" / "data.yaml"


def compared(own: TrainingRecord, other: TrainingRecord) -> str:
    return str(outcome("seed_noise", Case(own, against=other)))


def test_runs_with_other_validation_images_are_not_compared(tmp_path: Path) -> None:
    runs = {}
    for name in ("own", "copy", "more"):
        (tmp_path / name).mkdir()
        run = Run(tmp_path / name, "yolov5")
        if name == "more":
            write_image(run.data, "val", "new", seed=1000)
        runs[name] = read_run(run.write_texts())
    assert "up to" in compared(runs["own"], runs["copy"])  # another place, the same images
    for cause in ("seed_noise", "changed_settings", "unexplained_drop"):
        reason = str(outcome(cause, Case(runs["own"], against=runs["more"])))
        assert "validation images or their labels differ" in reason
    assert "different data sets" in compared(runs["own"], replace(runs["copy"], data="nowhere.yaml"))
    assert "5 and 7 images" in compared(replace(runs["own"], val_images=5), replace(runs["copy"], val_images=7))
    assert "measure AP in different ways" in compared(runs["own"], replace(runs["copy"], package="regard"))


@pytest.mark.parametrize(("package", "values"), [("yolov5", {"noval": True}), ("ultralytics", {"val": False})])
def test_an_ap_that_was_measured_at_the_end_only_did_not_rise(
    package: str, values: dict[str, Any], tmp_path: Path
) -> None:
    run = Run(tmp_path, package, ap=[0.0] * 399 + [0.6])
    record = read_run(change(run.write_texts(), package, **values))
    assert record.values("ap") == [(400, 0.6)]
    assert outcome("no_ap", Case(record)) is None
    assert "last epoch only" in str(outcome("still_rising", Case(record)))
    run.ap = [0.0] * 390
    killed = Case(read_run(change(run.write_texts(), package, **values)))
    assert "last epoch only" in str(outcome("no_ap", killed))


def test_a_table_without_an_ap_is_no_run_without_an_ap(tmp_path: Path) -> None:
    folder = Run(tmp_path, "yolov5").write_texts()
    file, text = folder / "results.csv", (folder / "results.csv").read_text()
    file.write_text(text.replace("metrics/mAP_0.5:0.95", "metrics/mAP_0.5:0.95(B)"))
    assert "no column of AP" in str(outcome("no_ap", Case(read_run(folder))))
    for column, task in (("metrics/mAP_0.5(M)", "segment"), ("metrics/accuracy_top1", "classify")):
        file.write_text(text.replace("metrics/mAP_0.5:0.95", column))
        with pytest.raises(RegardError, match=task):
            read_run(folder)
    percent = Run(tmp_path, "yolov5", ap=[100 * value for value in curve(400)]).write_texts()
    assert "percent" in str(outcome("no_ap", Case(read_run(percent))))
    file.rename(folder / "results.txt")
    for cause in ("diverged", "no_ap", "still_rising", "early_stop"):
        assert "results.txt" in str(outcome(cause, Case(read_run(folder))))


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize(
    ("bad", "weight", "words"),
    [
        ((6,), None, ""),
        (range(6, 401), "likely", "from epoch 6 on"),
        ((3, *range(9, 401)), "likely", "from epoch 9 on"),
        (range(3, 300, 3), "possible", "in 99 of 400 epochs, first in epoch 3"),
    ],
)
def test_a_loss_that_recovers_has_not_diverged(
    package: str, bad: tuple[int, ...], weight: str | None, words: str, tmp_path: Path
) -> None:
    name = {"regard": "train/box", "yolov5": "val/box_loss", "ultralytics": "val/dfl_loss"}[package]
    values = [math.nan if epoch in bad else 0.5 for epoch in range(1, 401)]
    found = outcome("diverged", Case(read_run(Run(tmp_path, package, columns={name: values}).write_texts())))
    if weight is None:
        assert found is None
    else:
        assert isinstance(found, Finding)
        assert found.weight == weight
        assert words in found.evidence


def test_a_fraction_of_the_images_makes_fewer_steps(tmp_path: Path) -> None:
    folder = Run(tmp_path, "ultralytics", batch=2, nominal=8).write_texts()
    assert Case(read_run(folder)).steps == 8
    case = Case(read_run(change(folder, "ultralytics", fraction=0.3)))
    assert (case.trained, case.steps) == (5, 3)
    assert "0.3 of the images" in str(outcome("same_images", case))
    assert "0.3 of the images" in str(outcome("labels", case))


def test_lines_that_were_torn_are_left_out_wherever_they_are(tmp_path: Path) -> None:
    folder = Run(tmp_path, "yolov5").write_texts()
    file = folder / "results.csv"
    lines = file.read_text().splitlines()
    merged = [*lines[:200], lines[200][:70] + lines[201], *lines[202:300], lines[0], lines[300][:50], *lines[301:]]
    file.write_text("\n".join(merged) + "\n")
    found = read_run(folder)
    assert found.torn == (201, 301)
    assert len(found.rows) == 400 - 3
    assert "2 lines of the table were not written completely: 201, 301" in regard.doctor(folder, quick=True).result
    file.write_text("\n".join([lines[0], *(line[:70] for line in lines[1:])]))
    with pytest.raises(RegardError, match="values in 14 columns"):
        read_run(folder)


@pytest.mark.parametrize("optimizer", ["auto", "RMSProp", "MuSGD"])
def test_optimisers_of_the_packages_have_a_usual_rate(optimizer: str, tmp_path: Path) -> None:
    folder = Run(tmp_path, "ultralytics", optimizer=optimizer).write_texts()
    assert outcome("learning_rate", Case(read_run(folder))) is None
    assert read_run(change(folder, "ultralytics", task=None, patience=None)).patience == 100
    batch = Case(read_run(change(folder, "ultralytics", batch=None)))
    assert "images per step" in str(outcome("warm_up", batch))


def test_what_the_user_names_must_be_there(tmp_path: Path) -> None:
    folder = Run(tmp_path, "yolov5").write_texts()
    for names in ({"data": "/nonexistent"}, {"weights": "/nonexistent.pt"}, {"weights": folder / "results.csv"}):
        with pytest.raises(RegardError, match=str(next(iter(names.values())))):
            regard.doctor(folder, quick=True, **names)


def test_what_the_user_names_must_be_readable(tmp_path: Path) -> None:
    folder = Run(tmp_path, "yolov5").write_texts()
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.pt").write_bytes(b"PK\3\4")
    for names in ({"data": tmp_path / "empty"}, {"data": folder / "results.csv"}, {"weights": tmp_path / "cut.pt"}):
        with pytest.raises(RegardError):
            regard.doctor(folder, quick=True, **names)
    with pytest.raises(RegardError):
        regard.doctor(folder, quick=True, weights=folder / "opt.yaml")  # a YAML, but no graph
    shutil.rmtree(tmp_path / "data" / "labels")
    found = regard.doctor(folder, quick=True, data=tmp_path / "data" / "data.yaml")
    assert "labels" in [finding.cause for finding in found.findings]


def test_evidence_names_the_start_that_was_read(tmp_path: Path) -> None:
    folder = Run(tmp_path, "yolov5", has_start=False).write()
    found = regard.doctor(folder, quick=True)
    assert "random weights (no file was named)" in found.findings[0].evidence
    torch.manual_seed(7)
    other = tmp_path / "other.safetensors"
    save_detector(other, detector_of(graph_of("yolov5", [[20, 20, 40, 30, 60, 40], [80, 60, 110, 90, 170, 150]])))
    for weights, words in (("yolov5n", "random weights (yolov5n)"), (other, f"kernels that {other} has")):
        found = regard.doctor(folder, quick=True, weights=weights)
        assert words in found.findings[0].evidence


def test_a_setting_that_starts_from_random_weights_is_named(tmp_path: Path) -> None:
    run = Run(tmp_path, "ultralytics")
    lost_its_weights(run)
    found = regard.doctor(change(run.write(), "ultralytics", pretrained=False), quick=True)
    assert found.findings[0].advice == "the settings have pretrained: false; set it to true"


def test_a_run_near_the_place_that_is_none_is_named(tmp_path: Path) -> None:
    study = tmp_path / "runs" / "base" / "seed-0"
    study.parent.mkdir(parents=True)
    folder = Run(tmp_path, "yolov5").write_texts().rename(study)
    (folder / "weights").mkdir()
    (folder / "weights" / "best.pt").write_bytes(b"")
    for place in (tmp_path, folder / "weights" / "best.pt", folder / "weights", folder / "weights" / "no"):
        with pytest.raises(RegardError) as caught:
            regard.doctor(place)
        assert str(folder) in str(caught.value.hint)


def test_classes_without_names_are_compared_with_others_without(tmp_path: Path) -> None:
    run = Run(tmp_path, "regard", names=("class0", "class1"))
    case = Case(read_run(run.write_texts()))
    assert "class names" in str(outcome("class_order", case))
    (run.data / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnc: 2\n")
    assert outcome("class_order", Case(case.run)) is None
    (run.data / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnc: 3\n")
    assert isinstance(outcome("class_order", Case(case.run)), Finding)
