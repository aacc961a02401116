from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from regard.errors import RegardError
from regard.system.locks import LOCK, exclusive, is_held
from regard.training.history import LOG, compare_runs, read_run, runs_below


def run_in(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"settings": {"epochs": 7, "seed": 3}, "data": {"source": "here"}}))
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_a_run_is_read_as_far_as_it_got(tmp_path: Path) -> None:
    folder = run_in(tmp_path / "runs" / "a", results_csv="epoch,val/ap\n1,0.25\n2,\n")
    (folder / LOG).write_text("x" * 5000 + "the end")
    run = read_run(folder, tmp_path)
    assert (run.name, run.state, run.data) == ("runs/a", "stopped", "here")
    assert run.settings == {"epochs": 7, "seed": 3}
    assert run.results == {"epoch": [1, 2], "val/ap": [0.25, None]}
    assert run.log.endswith("the end")
    assert len(run.log) == 4000
    (folder / "metrics.json").write_text('{"ap": 0.5, "ap50": 0.75, "names": []}')
    finished = read_run(folder, tmp_path)
    assert (finished.state, finished.metrics) == ("finished", {"ap": 0.5, "ap50": 0.75})
    with exclusive(folder / LOCK):
        assert read_run(folder, tmp_path).state == "running"


def test_a_lock_that_a_killed_process_left_is_not_held_and_stays(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    assert not is_held(tmp_path / LOCK)
    assert not is_held(tmp_path / "none")
    with exclusive(tmp_path / "other"):
        assert is_held(tmp_path / "other")


def test_damaged_files_do_not_hide_a_run(tmp_path: Path) -> None:
    folder = run_in(tmp_path / "a", results_csv="epoch,val/ap\n1\nx,y\n", metrics_json="{")
    (folder / "run.json").write_text("[]")
    run = read_run(folder, tmp_path)
    assert (run.state, run.results, run.settings, run.metrics) == ("stopped", {}, {}, {})


def test_values_that_json_lacks_are_left_out(tmp_path: Path) -> None:
    folder = run_in(
        tmp_path / "a", results_csv="epoch,val/ap\n1,nan\n2,inf\n3,0.5\n", metrics_json='{"ap": NaN, "ap50": 0.5}'
    )
    run = read_run(folder, tmp_path)
    assert (run.results["val/ap"], run.metrics) == ([None, None, 0.5], {"ap50": 0.5})


def test_the_latest_run_comes_first_and_links_are_not_followed(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    for i, name in enumerate(("old", "new", "sub/new")):
        os.utime(run_in(here / name) / "run.json", (i, i))
    run_in(other / "c")
    (here / "link").symlink_to(other)
    run_in(here / ".hidden")
    assert [run.name for run in runs_below(here)] == ["sub/new", "new", "old"]


def test_links_in_a_run_show_nothing_of_other_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"ap": 0.5, "ap50": 0.25}')
    run, broken = run_in(tmp_path / "here" / "a"), run_in(tmp_path / "here" / "b")
    for name in ("metrics.json", LOG, "results.csv"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(secret)
    (broken / "run.json").unlink()
    (broken / "run.json").symlink_to(tmp_path / "missing")
    (found,) = runs_below(tmp_path / "here")
    assert (found.log, found.results, found.metrics) == ("", {}, {})


def test_runs_are_compared(tmp_path: Path) -> None:
    run_in(tmp_path / "a", metrics_json='{"ap": 0.5, "ap50": null, "split": "val"}')
    run_in(tmp_path / "b", metrics_json='{"ap": 0.25, "f1": 0.75}')
    config = {"settings": {"epochs": 7, "seed": 5, "recipe": {"optim": {"lr": 0.1}}}, "data": {"source": "here"}}
    (tmp_path / "b" / "run.json").write_text(json.dumps(config))
    found = compare_runs(tmp_path, ["b", "a"])
    assert found.runs == ("b", "a")
    assert found.settings == {"seed": ("5", "3"), "recipe.optim.lr": ("0.1", None)}
    assert found.metrics == {"ap": (0.25, 0.5), "f1": (0.75, None)}
    with pytest.raises(RegardError, match="no run"):
        compare_runs(tmp_path, ["a", "c"])
