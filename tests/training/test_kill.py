"""A run may be killed at any moment: what is kept is whole, and continuing ends where an unbroken run ends."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import TINY, over_families

import regard
from regard.graph.detector import Detector
from regard.weights.detector import load_detector
from regard.weights.store import load_state

KILL_ITSELF = """\
import os, signal, sys
stage, left = sys.argv[1], int(sys.argv[2])
original = getattr(os, stage)

def counted(*arguments):
    global left
    left -= 1
    if stage == "replace":
        original(*arguments)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if stage == "fsync":
        original(*arguments)

setattr(os, stage, counted)
sys.argv = ["regard", *sys.argv[3:]]
from regard.__main__ import main
main()
"""
"""Runs the command line and kills it at a count of files: written but not in place ("fsync"), or in place ("replace").

A run writes last, results, state, model.yaml, run.json; then an epoch writes last, perhaps best, results and state.
"""
HYP = "lr0: 0.01\nwarmup_epochs: 0\nmosaic: 0\n"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as the commands below: sums of another order would differ in the last bit
    yield
    torch.set_num_threads(before)


@pytest.fixture
def arguments(tmp_path: Path, model: Detector) -> list[str]:
    """Return what follows ``regard train`` but the folder; the start is a file, so that all runs share it."""
    start, hyp = tmp_path / "start.safetensors", tmp_path / "hyp.yaml"
    regard.save(regard.insert(model, "SE", after="p4", options={"reduction": 4}), start)
    hyp.write_text(HYP)
    fixed = "--imgsz 64 --batch 4 --workers 0 --seed 3 --no-plots --device cpu"
    return [str(start), "--data", TINY, "--hyp", str(hyp), *fixed.split()]


def command(*arguments: str | Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def unbroken(arguments: list[str], folder: Path, epochs: int) -> None:
    settings = {"imgsz": 64, "batch": 4, "workers": 0, "seed": 3, "plots": False, "device": "cpu", "epochs": epochs}
    regard.train(regard.load(arguments[0]), TINY, folder=folder, recipe=arguments[4], **settings)


def assert_same(value: Any, other: Any, place: str = "state") -> None:
    """Hold two nested states against each other, tensors bit by bit."""
    assert type(value) is type(other), place
    if isinstance(value, dict):
        assert value.keys() == other.keys(), place
        for key in value:
            if "second" not in str(key):  # what depends on the clock: images_per_second, train_seconds, val_seconds
                assert_same(value[key], other[key], f"{place}.{key}")
    elif isinstance(value, list | tuple):
        assert len(value) == len(other), place
        for i, (a, b) in enumerate(zip(value, other, strict=True)):
            assert_same(a, b, f"{place}.{i}")
    else:
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, place


def assert_ends_alike(folder: Path, whole: Path) -> None:
    assert_same(load_state(folder / "state.pt"), load_state(whole / "state.pt"))
    for name in ("best.safetensors", "last.safetensors"):
        assert_same(
            dict(load_detector(folder / name).state_dict()), dict(load_detector(whole / name).state_dict()), name
        )
    tables = [list(csv.reader((path / "results.csv").read_text().splitlines())) for path in (folder, whole)]
    assert [row[:10] for row in tables[0]] == [row[:10] for row in tables[1]]
    assert not list(folder.glob(".*"))  # nothing half-written is left


def killed_at(stage: str, count: int, arguments: list[str], folder: Path) -> None:
    process = command("-c", KILL_ITSELF, stage, str(count), "train", *arguments, "-o", folder, "--epochs", "3")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, errors.decode()


def check_usable_and_continue(arguments: list[str], folder: Path, whole: Path) -> None:
    if (folder / "run.json").is_file():
        assert load_detector(folder).names == {0: "ordinary", 1: "odd"}
        assert regard.resume(folder).metrics.images == 3
    else:  # it had not begun
        with pytest.raises(regard.RegardError, match="no run in this folder"):
            regard.resume(folder)
        unbroken(arguments, folder, epochs=3)
    assert_ends_alike(folder, whole)


@over_families()
def test_killed_while_a_checkpoint_is_written(arguments: list[str], tmp_path: Path) -> None:
    unbroken(arguments, tmp_path / "whole", epochs=3)
    killed_at("fsync", 12, arguments, tmp_path / "broken")  # in the second epoch
    assert list((tmp_path / "broken").glob(".*.tmp"))
    check_usable_and_continue(arguments, tmp_path / "broken", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_killed_at_every_file_of_a_run(arguments: list[str], tmp_path: Path, stage: str) -> None:
    unbroken(arguments, tmp_path / "whole", epochs=3)
    for count in range(1, 15):
        killed_at(stage, count, arguments, tmp_path / f"{count}")
        check_usable_and_continue(arguments, tmp_path / f"{count}", tmp_path / "whole")


@pytest.mark.slow
def test_killed_ten_times_at_any_moment(arguments: list[str], tmp_path: Path) -> None:
    epochs, folder = 60, tmp_path / "broken"
    unbroken(arguments, tmp_path / "whole", epochs)
    rng = random.Random(0)
    process = command("-m", "regard", "train", *arguments, "-o", folder, "--epochs", str(epochs))
    for _ in range(10):
        before = written(folder / "state.pt")
        while written(folder / "state.pt") == before or not (folder / "run.json").is_file():
            assert process.poll() is None, (process.communicate()[1].decode(), "ended before ten kills")
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        load_detector(folder / "last.safetensors")
        process = command("-m", "regard", "train", "--resume", folder)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    assert_ends_alike(folder, tmp_path / "whole")


def written(file: Path) -> int:
    return file.stat().st_mtime_ns if file.is_file() else 0
