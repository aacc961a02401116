"""Data sets and starting weights are found where they are now, whatever system and folder the run was made in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from chinese import WORDS, english_in
from run_folders import Run

import regard
from regard.diagnosis.case import Case
from regard.diagnosis.findings import NotChecked
from regard.diagnosis.packages import read_run
from regard.system.terminal import plain_text
from regard.system.translation import translate_into

SETTINGS = {"yolov5": ("opt.yaml", "weights"), "ultralytics": ("args.yaml", "model")}


def case_of(folder: Path, package: str = "yolov5", start: str = "", **changes: Any) -> Case:
    name, key = SETTINGS[package]
    stated = yaml.safe_load((folder / name).read_text()) | ({key: start} if start else {}) | changes
    (folder / name).write_text(yaml.safe_dump(stated))
    return Case(read_run(folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "start.pt").write_bytes(b"not opened")
    return Run(tmp_path, "yolov5").write_texts()


@pytest.mark.parametrize("package", SETTINGS)
@pytest.mark.parametrize(
    "above", ["..\\", "../", "", "C:\\Users\\me\\", "C:/Users/me/", "\\\\server\\share\\me\\", "/me/"]
)
def test_paths_of_every_system_are_found(package: str, above: str, tmp_path: Path) -> None:
    folder = Run(tmp_path, package).write_texts()
    (tmp_path / "start.pt").write_bytes(b"not opened")
    slash = "/" if "/" in above else "\\"
    case = case_of(folder, package, start=f"{above}start.pt", data=f"{above}data{slash}data.yaml")
    assert Path(case.data_place).resolve() == tmp_path / "data" / "data.yaml"
    assert case.start_found[0].resolve() == tmp_path / "start.pt"
    is_elsewhere = "me" in above
    assert bool(case.data_found[1]) == bool(case.start_found[1]) == is_elsewhere


@pytest.mark.parametrize("root", ["..\\data", "C:\\sets\\data", "."])
def test_paths_in_a_data_yaml_may_have_backslashes(root: str, folder: Path, tmp_path: Path) -> None:
    names = {"train": "images\\train", "val": ".\\images\\val", "names": ["cat", "dog"]}
    (tmp_path / "data" / "data.yaml").write_text(yaml.safe_dump({"path": root, **names}))
    data = case_of(folder, data="..\\data\\data.yaml").dataset
    assert {split: len(samples) for split, samples in data.splits.items()} == {"train": 16, "val": 5}


def test_a_name_that_most_runs_have_is_no_evidence(folder: Path, tmp_path: Path) -> None:
    for place in ("data.yaml", "best.pt", "exp/weights/best.pt"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(b"not opened")
    with pytest.raises(NotChecked, match="was not found"):
        _ = case_of(folder, data="C:\\fish\\data").data_place
    stated = "C:\\sets\\fish\\data.yaml"
    case = case_of(folder, start="D:\\exp7\\weights\\best.pt", data=stated)
    with pytest.raises(NotChecked) as caught:
        _ = case.data_place
    assert str(caught.value) == f"the data set '{stated}' was not found: name it with --data"  # no backslash is doubled
    chinese = translate_into(str(caught.value), "zh-TW")
    assert stated in chinese
    assert english_in(chinese) <= WORDS
    with pytest.raises(NotChecked, match="were not found"):
        _ = case.start_found
    assert case_of(folder, start="hf://owner/exp").run.start == "hf://owner/exp"
    with pytest.raises(NotChecked, match="were not found"):
        _ = case_of(folder, start="hf://owner/exp").start_found


def test_the_screen_says_how_a_data_set_was_found(folder: Path) -> None:
    case_of(folder, data="C:\\me\\data\\data.yaml")
    found = regard.doctor(folder, quick=True)
    assert found.data_note == "found by the end of its path as data/data.yaml"
    assert f"{found.data}, {found.data_note}" in plain_text(found, 1000)
    assert found.to_dict()["data_note"] == found.data_note


@pytest.mark.parametrize("given", ["yolov5n", "graph.yaml"])
def test_a_graph_says_nothing_about_a_run_that_states_its_weights(given: str, folder: Path, tmp_path: Path) -> None:
    weights = given if given == "yolov5n" else str(tmp_path / given)
    if given != "yolov5n":
        shutil.copy(Path(regard.__file__).parent / "models" / "odd-one-out.yaml", weights)
    found = regard.doctor(folder, quick=True, weights=weights)
    assert not [finding for finding in found.findings if finding.cause == "start_weights"]
    reason = f"'{weights}' has no weights to compare with, and the run states that training started from 'start.pt'"
    assert found.skipped["start_weights"] == reason
    assert english_in(translate_into(reason, "zh-TW")) <= WORDS
