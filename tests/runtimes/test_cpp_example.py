"""The C++ example: compiled with ONNX Runtime where its headers are, else against declarations of what it uses."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import regard
from regard.data.synthetic import scene

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "docs" / "examples" / "detect.cpp"
STUB = Path(__file__).parent / "stub"
VARIABLE = "ONNXRUNTIME_ROOT"
"""Folder with include/ and lib/ of ONNX Runtime's release for C++."""
COMPILER = shutil.which("g++") or shutil.which("clang++")


def installed() -> Path | None:
    """Where ONNX Runtime's headers and library are."""
    known = [Path(os.environ[VARIABLE])] if os.environ.get(VARIABLE) else []
    return next((one for one in [*known, Path("/usr"), Path("/usr/local")] if list(headers(one))), None)


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
    onnxruntime = pytest.importorskip("onnxruntime")
    program, file = tmp_path / "detect", tmp_path / "detector.onnx"
    folders = [f"-I{headers(root)[0].parent}", f"-L{root / 'lib'}", f"-Wl,-rpath,{root / 'lib'}"]
    command = [str(COMPILER), "-std=c++17", str(SOURCE), *folders, "-lonnxruntime", "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    regard.export("odd-one-out", file, imgsz=128, nms=True, conf=0.001)
    image = scene(0, "val", 0).read()
    height, width = image.shape[:2]
    (tmp_path / "a.ppm").write_bytes(f"P6 {width} {height} 255\n".encode() + image.tobytes())
    printed = subprocess.run([program, file, tmp_path / "a.ppm"], check=True, capture_output=True, text=True).stdout
    found = np.array([line.split() for line in printed.splitlines()], dtype=np.float64)

    sides = [-(-side // 32) * 32 for side in (height, width)]
    padded = np.full((1, 3, *sides), 114 / 255, np.float32)
    padded[0, :, :height, :width] = image.transpose(2, 0, 1) / np.float32(255)
    session = onnxruntime.InferenceSession(str(file))
    (rows,) = session.run(["detections"], {session.get_inputs()[0].name: padded})
    assert len(found) == len(rows) > 0
    np.testing.assert_allclose(found, rows[:, 1:], atol=0.01)
