"""The command line: what it prints, and exit code 2 without a traceback for what a user can cause."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def regard(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "regard", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def test_help_names_every_command_and_imports_no_torch() -> None:
    code = "import sys; sys.argv = ['regard', '--help']\nfrom regard.__main__ import main\ntry: main()\nfinally: "
    done = subprocess.run(
        [sys.executable, "-c", code + "assert 'torch' not in sys.modules"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for command in ("summary", "insert", "replace", "remove", "train", "val", "predict", "export", "demo", "data"):
        assert command in done.stdout


def test_summary_as_json_has_the_published_totals() -> None:
    done = regard("summary", "yolov5n", "--format", "json")
    table = json.loads(done.stdout)
    assert table["parameters"] == 1_872_157
    assert f"{table['gflops']:.1f}" == "4.5"


def test_an_edit_written_as_integers_reads_as_the_same_edit(tmp_path: Path) -> None:
    written = tmp_path / "se.yaml"
    assert regard("insert", "yolov5n", "SE", "--after", "sppf", "--no-gate", "--yolov5", "-o", written).returncode == 0
    assert "[-1, 1, SE, [1024]]" in written.read_text()
    assert regard("summary", written).returncode == 0


def test_a_forgotten_shift_is_refused_with_the_corrected_row(tmp_path: Path) -> None:
    edited = tmp_path / "se.yaml"
    regard("insert", "yolov5n", "SE", "--after", "sppf", "--no-gate", "--yolov5", "-o", edited)
    edited.write_text(edited.read_text().replace("[[-1, 15], 1, Concat, [1]]", "[[-1, 14], 1, Concat, [1]]"))
    done = regard("summary", edited)
    assert done.returncode == 2
    assert "corrected row: [[-1, 15], 1, Concat, [1]]" in done.stderr
    assert "Traceback" not in done.stderr
    allowed = regard("summary", edited, "--allow-miswired")
    assert allowed.returncode == 0
    assert "warning" in allowed.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("summary", "yolov5q"), "did you mean"),
        (("summary", "yolov5n.pt"), "regard downloads nothing"),
        (("insert", "yolov5n", "SE", "--after", "spff"), "did you mean 'sppf'?"),
        (("insert", "yolov5n", "ES", "--after", "sppf"), "unknown module"),
        (("insert", "yolov5n", "SE", "--after", "sppf", "-a", "ratoi=4"), "did you mean 'ratio'?"),
        (("train", "yolov5n", "--data", "nowhere"), "nowhere"),
        (("train", "--resume", "nowhere"), "no run in this folder"),
        (("data", "check", "nowhere"), "nowhere"),
    ],
)
def test_what_a_user_can_cause_exits_2_without_a_traceback(
    arguments: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    done = regard(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
