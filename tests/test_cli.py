"""The command line: what it prints, and exit code 2 without a traceback for what a user can cause."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from regard.__main__ import main

TINY = "synthetic:context?train=5&val=2&test=0"


def regard(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "regard", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def exit_code(*arguments: str) -> int:
    """Run a command in this process."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sys, "argv", ["regard", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
    return int(stop.value.code or 0)


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


def test_a_replacement_states_which_weights_it_does_not_keep(tmp_path: Path) -> None:
    done = regard("replace", "yolov5n", "p4", "C3Ghost", "-o", tmp_path / "ghost.safetensors")
    assert done.returncode == 0
    assert "of the source unused" in done.stderr
    assert "p4: " in done.stderr
    kept = regard("insert", "yolov5n", "SE", "--after", "p4", "-o", tmp_path / "se.safetensors")
    assert kept.stderr == ""


def test_a_forgotten_shift_is_rejected_with_the_corrected_row(tmp_path: Path) -> None:
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
    ("arguments", "reported"),
    [
        (("summary", "yolov5q"), "did you mean"),
        (("summary", "yolov5n.pt"), "regard downloads nothing"),
        (("insert", "yolov5n", "SE", "--after", "spff"), "did you mean 'sppf'?"),
        (("insert", "yolov5n", "ES", "--after", "sppf"), "unknown module"),
        (("insert", "yolov5n", "SE", "--after", "sppf", "-a", "reductoin=4"), "did you mean 'reduction'?"),
        (("insert", "yolov5n", "SE", "--after", "sppf", "--ungated"), "add --yolov5"),
        (("insert", "yolov5n", "SE", "--after", "sppf", "--yolov5", "-o", "a.safetensors"), "--yolov5 writes a YAML"),
        (("summary", "yolov5n", "--imgsz", "3200000000"), "such as 16384"),
        (("train", "yolov5n", "--data", "nowhere"), "nowhere"),
        (("train", "--resume", "nowhere"), "no run in this folder"),
        (("data", "check", "nowhere"), "nowhere"),
        (("predict", "odd-one-out", "a.jpg", "--conf", "2"), "conf is 2.0"),
        (("predict", "odd-one-out", "a.jpg", "--batch", "0"), "batch is 0"),
        (("predict", "odd-one-out", "993"), "camera 993 cannot be opened"),
        (("predict", "odd-one-out", "993", "--classes", "od"), "unknown class 'od'"),
        (("val", "odd-one-out", "--data", "synthetic:context", "--iou", "-1"), "iou is -1.0"),
        (("val", "odd-one-out", "--data", "synthetic:context", "--imgsz", "0"), "imgsz is 0"),
        (("val", "odd-one-out", "--data", "synthetic:context", "--workers", "-1"), "workers is -1"),
        (("export", "odd-one-out", "--max-det", "0"), "max_det is 0"),
        (("export", "odd-one-out", "--conf", "0.3"), "add --nms"),
        (("export", "odd-one-out", "--format", "openvino", "-o", "b.onnx"), "is the suffix of onnx"),
        (
            ("train", "odd-one-out", "--data", "synthetic:context", "--callback", "none.py:X"),
            "my_callback.py:MyCallback",
        ),
        (("summary", "odd-one-out", "--module", "none.py:X"), "my_layer.py:MyLayer"),
        (("export", "odd-one-out", "--image", "nowhere.jpg"), "the image file does not exist"),
    ],
)
def test_what_a_user_can_cause_exits_2_without_a_traceback(
    arguments: tuple[str, ...], reported: str, tmp_path: Path
) -> None:
    done = regard(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert reported in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "odd-one-out", "--data", TINY, "--epochs", "1", "--workers", "0", "-o"),
        ("val", "odd-one-out", "--data", TINY, "--imgsz", "64", "--plots"),
        ("predict", "odd-one-out", "grey.png", "-o"),
        ("ablate", "--base", "odd-one-out", "--data", TINY, "--noise", "--seeds", "2", "--epochs", "1", "-o"),
        ("demo", "-o"),
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize("place", ["taken", "taken/below"])
def test_a_file_in_the_place_of_a_folder_is_one_clear_error(
    arguments: tuple[str, ...], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("mine")
    assert cv2.imwrite("grey.png", np.full((61, 97), 114, np.uint8))
    assert exit_code(*arguments, place) == 2
    printed = capfd.readouterr()
    assert "error: taken: is a file\n  expected: a folder" in printed.err
    assert "epoch" not in printed.out  # before anything was computed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grey.png", "taken"]
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "arguments", "is_repeatable"),
    [
        ("data_check.jpg", ("data", "check", TINY), True),
        ("p4-gradient.png", ("attend", "odd-one-out", "grey.png", "--layer", "p4", "--kind", "gradient"), True),
        ("confusion.png", ("val", "odd-one-out", "--data", TINY, "--imgsz", "64", "--plots", "."), True),
        ("a.yaml", ("convert", "yolov5n", "--to", "yolov5", "-o", "a.safetensors"), True),
        ("model.yaml", ("train", "odd-one-out", "--data", TINY, "-o", "."), False),
        ("report.md", ("ablate", "--base", "odd-one-out", "--data", TINY, "--noise", "--seeds", "2", "-o", "."), False),
    ],
)
def test_files_whose_names_were_not_given_are_replaced_only_if_regard_wrote_them(
    name: str, arguments: tuple[str, ...], is_repeatable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cv2.imwrite("grey.png", np.full((61, 97), 114, np.uint8))
    (tmp_path / name).write_text("mine")
    assert exit_code(*arguments) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(("grey.png", name))
    assert (tmp_path / name).read_text() == "mine"
    if is_repeatable:
        (tmp_path / name).unlink()
        assert [exit_code(*arguments), exit_code(*arguments)] == [0, 0]
        assert (tmp_path / name).stat().st_size > 100


def test_a_figure_never_replaces_the_image_that_it_is_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cv2.imwrite("grey.png", np.full((61, 97), 114, np.uint8))
    before = Path("grey.png").read_bytes()
    assert exit_code("attend", "odd-one-out", "grey.png", "--layer", "p4", "-o", "./grey.png") == 2
    assert Path("grey.png").read_bytes() == before


def test_an_export_is_next_to_its_weights_and_predicts(tmp_path: Path) -> None:
    folder = tmp_path / "run.1"
    folder.mkdir()
    done = regard("insert", "odd-one-out", "SE", "--after", "p4", "-o", folder / "best.safetensors")
    assert done.returncode == 0, done.stderr
    exported = regard("export", folder, "--format", "torchscript", "--imgsz", "64", "--data", "synthetic:context")
    assert exported.returncode == 0, exported.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run.1"]
    assert (folder / "best.torchscript").is_file()
    assert cv2.imwrite(str(tmp_path / "grey.png"), np.full((61, 97), 114, np.uint8))
    seen = regard("predict", folder / "best.torchscript", tmp_path / "grey.png", "-o", tmp_path / "out", "--save-txt")
    assert seen.returncode == 0, seen.stderr
    assert (tmp_path / "out" / "labels" / "grey.txt").is_file()
