"""`regard predict` as it is called."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from regard.cli import app
from regard.errors import RegardError, RegardWarning


def _image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.zeros((37, 53, 3), np.uint8))[1].tobytes())
    return path


def _predict(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["predict", "odd-one-out", *map(str, arguments), "--imgsz", "32"])
    return result.exit_code, result.output


def test_skipped_files_are_counted_and_exit_1(tmp_path: Path) -> None:
    _image(tmp_path / "photos/a.png")
    (tmp_path / "photos/b.jpg").write_bytes(b"torn")
    with pytest.warns(RegardWarning, match=r"b\.jpg"):
        code, output = _predict(tmp_path / "photos", "-o", tmp_path / "out")
    assert code == 1
    assert "skipped, for the reasons above: 1" in output
    assert (tmp_path / "out/a.png").is_file()
    (tmp_path / "photos/b.jpg").unlink()
    assert _predict(tmp_path / "photos", "-o", tmp_path / "other")[0] == 0


def test_subfolders_and_strides_are_options(tmp_path: Path) -> None:
    _image(tmp_path / "photos/deep/a.png")
    code, output = _predict(tmp_path / "photos", "--recursive", "--vid-stride", "2", "-o", tmp_path / "out")
    assert (code, "a.png: " in output) == (0, True)


def test_the_source_may_be_an_option_as_in_yolov5(tmp_path: Path) -> None:
    image = _image(tmp_path / "a.png")
    code, output = _predict("--source", image, "-o", tmp_path / "out")
    assert (code, "a.png: " in output) == (0, True)
    result = CliRunner().invoke(app, ["predict", "odd-one-out", "-o", str(tmp_path / "none")])
    assert isinstance(result.exception, RegardError)
    assert not (tmp_path / "none").exists()


def test_results_are_not_written_among_the_images(tmp_path: Path) -> None:
    image = _image(tmp_path / "photos/a.png")
    before = image.read_bytes()
    for source in (image, tmp_path / "photos"):
        result = CliRunner().invoke(app, ["predict", "odd-one-out", str(source), "-o", str(tmp_path / "photos" / ".")])
        assert isinstance(result.exception, RegardError)
        assert "among the images" in str(result.exception)
    assert image.read_bytes() == before
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.png"]
    code, _ = _predict(image, "--no-save-images", "--save-txt", "-o", tmp_path / "photos")
    assert code == 0


def test_a_source_that_gives_nothing_leaves_no_folder(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["predict", "odd-one-out", "993", "-o", str(tmp_path / "out")])
    assert isinstance(result.exception, RegardError)
    assert not (tmp_path / "out").exists()
