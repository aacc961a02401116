"""Killed commands, full disks and missing rights: whole files, one line, nothing left behind, nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import MODEL, SCENES, make_images, make_sets

import regard

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs forks and their processes in /proc")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What training, prediction and editing need."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "tiny.yaml").write_text(MODEL)
    make_images(folder)
    make_sets(folder)
    settings = {"imgsz": 32, "batch": 2, "epochs": 1, "workers": 0, "precision": "32", "plots": False}
    regard.train(regard.load(folder / "tiny.yaml"), SCENES, folder=folder / "run", verbose=False, **settings)
    return folder


def script(name: str, *arguments: str | Path) -> None:
    file = Path(__file__).with_name(name)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, str(file), *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def test_some_killed_commands_lose_and_leave_nothing(corpus: Path) -> None:
    script("kills.py", "4", "--kind", "train", "--kind", "predict", "--corpus", corpus)


def test_some_faults_of_the_system_are_one_line(corpus: Path) -> None:
    script("faults.py", "--only", "insert, ", "--corpus", corpus)


@pytest.mark.slow
def test_killed_commands_lose_and_leave_nothing() -> None:
    script("kills.py", "150")


@pytest.mark.slow
def test_faults_of_the_system_are_one_line() -> None:
    script("faults.py")
