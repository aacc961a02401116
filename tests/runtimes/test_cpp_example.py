"""The C++ example: compiled with ONNX Runtime where its headers are, else against declarations of what it uses."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

import regard
from regard.data.synthetic import scene

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "docs" / "examples" / "detect.cpp"
STUB = Path(__file__).parent / "stub"
VARIABLE = "ONNXRUNTIME_ROOT"
"""Folder with include/ of ONNX Runtime's release for C++; without its lib/, that of the Python package is used."""
SIZES = ((426, 640), (641, 427), (1001, 667), (300, 200), (997, 333), (128, 128), (50, 37), (3, 700))
"""(height, width) of images that are scaled to odd sides, down and up, padded by odd numbers, or not changed."""
COMPILER = shutil.which("g++") or shutil.which("clang++")


def installed() -> Path | None:
    """Where ONNX Runtime's headers and library are."""
    known = [Path(os.environ[VARIABLE])] if os.environ.get(VARIABLE) else []
    return next((one for one in [*known, Path("/usr"), Path("/usr/local")] if list(headers(one))), None)


def library(root: Path, folder: Path) -> Path:
    """The folder of libonnxruntime: of the release, or one with links to that of the Python package."""
    if list((root / "lib").glob("libonnxruntime.*")):
        return root / "lib"
    package = find_spec("onnxruntime")
    assert package
    assert package.origin
    (file,) = (Path(package.origin).parent / "capi").glob("libonnxruntime.so.*")
    folder.mkdir()
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(file)
    return folder


def headers(root: Path) -> list[Path]:
    return sorted((root / "include").glob("**/onnxruntime_cxx_api.h")) if (root / "include").is_dir() else []


@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
def test_the_example_compiles_without_warnings() -> None:
    command = [str(COMPILER), "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{STUB}", str(SOURCE)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
def test_the_example_finds_what_python_finds(tmp_path: Path) -> None:
    root = installed()
    if root is None:
        pytest.skip(f"needs the headers of ONNX Runtime for C++; name their folder in {VARIABLE}")
    pytest.importorskip("onnxruntime")
    program, file = tmp_path / "detect", tmp_path / "detector.onnx"
    lib = library(root, tmp_path / "lib")
    folders = [f"-I{headers(root)[0].parent}", f"-L{lib}", f"-Wl,-rpath,{lib}"]
    command = [str(COMPILER), "-std=c++17", str(SOURCE), *folders, "-lonnxruntime", "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    regard.export("odd-one-out", file, imgsz=128, nms=True, conf=0.001)
    scene_of_objects = scene(0, "val", 0).read()
    for height, width in SIZES:
        image = np.asarray(cv2.resize(scene_of_objects, (width, height)), np.uint8)
        (tmp_path / "a.ppm").write_bytes(f"P6 {width} {height} 255\n".encode() + image.tobytes())
        printed = subprocess.run([program, file, tmp_path / "a.ppm"], check=True, capture_output=True, text=True).stdout
        found = np.array([line.split() for line in printed.splitlines()], dtype=np.float64)
        same = regard.predict(file, image, imgsz=128, conf=0.001)
        assert isinstance(same, regard.Detections)
        assert len(found) == len(same) > 0
        np.testing.assert_allclose(found[:, :4], same.boxes_xyxy, atol=0.01, err_msg=str((height, width)))
        np.testing.assert_allclose(found[:, 4], same.scores, atol=1e-4)
        assert found[:, 5].tolist() == same.class_ids.tolist()
