"""CONTRIBUTING.md is true: each addition is made to a copy of the package, with just the files and rows it names.

A section says which example to copy where (``tests/contributing/additions/NAME.py -> src/regard/ROOM/NAME.py``) and
which row to add (a ``diff`` block). Nothing else of the copy is touched.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import cv2
import numpy as np
import pytest

from regard.errors import RegardError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COPY = re.compile(r"`(tests/\S+)` ->\s`(src/regard/\S+)`")
DIFF = re.compile(r"```diff\n(.*?)```", re.DOTALL)


def section(title: str) -> str:
    """The text of a section of the page."""
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"CONTRIBUTING.md has no section {title!r}"
    return found[1]


def patch(root: Path, diff: str) -> None:
    """Apply a diff of one file: lines with "-" and " " must be there, one after another, and become those without."""
    head, *lines = diff.splitlines()
    file = root / head.removeprefix("+++ ")
    old = "\n".join(line[1:] for line in lines if not line.startswith("+"))
    new = "\n".join(line[1:] for line in lines if not line.startswith("-"))
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file.name} does not contain, once:\n{old}"
    file.write_text(text.replace(old, new), encoding="utf-8")


class Copy:
    """A copy of the package with the addition of one section.

    Args:
        folder: where to make it.
        title: the section's.
    """

    def __init__(self, folder: Path, title: str) -> None:
        shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
        self.folder, text = folder, section(title)
        self.files = COPY.findall(text)
        for source, target in self.files:
            shutil.copy(ROOT / source, folder / target)
        self.rows = DIFF.findall(text)
        for diff in self.rows:
            patch(folder, diff)

    def run(self, *command: str) -> str:
        """Run Python in the copy and return what it prints."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        environment |= {"REGARD_CACHE": str(self.folder / "cache")}
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=500,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def regard(self, *arguments: str) -> str:
        """Run the command line of the copy."""
        return self.run("-m", "regard", *arguments)


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """A folder with ``boxes.csv`` and images of one bright square each."""
    folder = tmp_path / "squares"
    folder.mkdir()
    rows, rng = ["image,split,class,left,top,right,bottom"], np.random.default_rng(5)
    for i in range(11):
        pixels = rng.integers(0, 60, (61, 83, 3), dtype=np.uint8)
        left, top = (int(n) for n in rng.integers(0, 40, 2))
        pixels[top : top + 19, left : left + 23] = 230
        assert cv2.imwrite(str(folder / f"{i}.png"), pixels)
        rows.append(f"{i}.png,{'train' if i < 7 else 'val'},square,{left},{top},{left + 23},{top + 19}")
    (folder / "boxes.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def test_an_attention_module_is_one_file_and_one_row(tmp_path: Path) -> None:
    made = Copy(tmp_path / "copy", "An attention module")
    assert (len(made.files), len(made.rows)) == (1, 2)  # the import, and the row
    made.regard("insert", "odd-one-out", "RowAttention", "--after", "p4", "-o", "edited.yaml")
    assert "RowAttention" in made.regard("cost", "edited.yaml", "--imgsz", "128")


def test_a_head_is_at_most_two_files_and_one_row(tmp_path: Path) -> None:
    made = Copy(tmp_path / "copy", "A detection head")
    assert (len(made.files), len(made.rows)) == (1, 2)  # the import, and the row
    made.regard("insert", "odd-one-out", "SE", "--after", "p4", "-o", "edited.yaml")
    graph = made.folder / "edited.yaml"
    text = graph.read_text(encoding="utf-8")
    assert text.count("Detect, [nc, anchors]") == 1, text
    graph.write_text(text.replace("Detect, [nc, anchors]", "CentreHead, [nc]"), encoding="utf-8")
    data = "synthetic:context?train=8&val=3&test=0"
    made.regard("train", "edited.yaml", "--data", data, "--epochs", "1", "--imgsz", "64", "-o", "run")
    assert "train/focal" in (made.folder / "run" / "results.csv").read_text(encoding="utf-8")
    made.regard("val", "run", "--data", data, "--imgsz", "64")
    made.regard("export", "run", "--imgsz", "64", "-o", "detector.onnx")


def test_a_data_format_is_one_file_and_one_row(tmp_path: Path, drawn: Path) -> None:
    made = Copy(tmp_path / "copy", "A data format")
    assert (len(made.files), len(made.rows)) == (1, 2)  # the import, and the row
    found = made.regard("data", "check", str(drawn))
    assert "square" in found
    made.regard("train", "odd-one-out", "--data", str(drawn), "--epochs", "1", "--imgsz", "64", "-o", "run")
    assert (made.folder / "run" / "best.safetensors").is_file()


def test_the_example_of_a_data_format_reports_what_is_wrong(drawn: Path) -> None:
    table = drawn / "boxes.csv"
    wrong = ("0.png,train,square,-500,-20,5000,30", "1.png,train,square,3,abc,9,17", "2.png,train,square,3,nan,9,17")
    rows = [*table.read_text(encoding="utf-8").splitlines(), *wrong, "none.png,val,square,1,2,3,4", "3.png,train,5", ""]
    table.write_text("\r\n".join(rows), encoding="utf-8-sig", newline="")
    spec = spec_from_file_location("boxes_csv", ROOT / "tests" / "contributing" / "additions" / "boxes_csv.py")
    assert spec is not None
    assert spec.loader is not None
    boxes_csv = module_from_spec(spec)
    spec.loader.exec_module(boxes_csv)
    found = boxes_csv.read(str(drawn))
    assert sorted(problem.line or 0 for problem in found.problems if problem.lost) == [0, 14, 15, 17], found.problems
    assert {problem.line for problem in found.problems if "clipped" in problem.done} == {13}, found.problems
    assert any("none.png" in problem.where + problem.found for problem in found.problems), found.problems
    assert {split: len(samples) for split, samples in found.splits.items()} == {"train": 7, "val": 4}
    table.write_text("image;split\n", encoding="utf-8")
    with pytest.raises(RegardError, match="its columns"):
        boxes_csv.read(str(drawn))


RUNTIME = """
import json, sys
import regard, torch
from regard.__main__ import main

model = regard.load("odd-one-out")
generator = torch.Generator().manual_seed(3)
for module in model.modules():  # so that an untrained detector finds something
    module.momentum = 1.0
model.train()(torch.rand(4, 3, 64, 96, generator=generator))
for conv in model.head.m:
    conv.bias.data.zero_()
    conv.weight.data.normal_(0, 0.3, generator=generator)
regard.save(model, "a.safetensors")

def command(*arguments):
    sys.argv = ["regard", *arguments]
    try:
        main()
    except SystemExit as stopped:
        assert not stopped.code, arguments

def predicted(*arguments):
    command("predict", *arguments, "1.png", "--imgsz", "64", "-o", "found", "--max-det", "9")
    return [(d["class_id"], round(d["score"], 3)) for d in json.load(open("found/detections.json"))[0]["detections"]]

expected = predicted("a.safetensors", "--backend", "torch")
assert len({score for _, score in expected}) > 3
assert predicted("a.safetensors", "--backend", "torch-export") == expected
for inside in ([], ["--nms", "--max-det", "9"]):
    command("export", "a.safetensors", "--format", "pt2", "--imgsz", "64", *inside)
    assert predicted("a.pt2") == expected
command("val", "a.pt2", "--data", "synthetic:context?train=4&val=2&test=0", "--imgsz", "64", "--format", "json")
"""


def test_a_runtime_is_one_file_and_one_row(tmp_path: Path) -> None:
    made = Copy(tmp_path / "copy", "A runtime")
    assert (len(made.files), len(made.rows)) == (1, 2)  # the import, and the row
    pixels = np.random.default_rng(2).integers(0, 256, (61, 83, 3), dtype=np.uint8)
    assert cv2.imwrite(str(made.folder / "1.png"), pixels)
    printed = made.run("-c", RUNTIME)
    assert printed.count("passed") == 2  # both exports were compared with PyTorch
    assert '"ap": ' in printed
    assert len(list((made.folder / "cache").glob("*/model.pt2"))) == 1


def test_a_callback_is_one_file(tmp_path: Path) -> None:
    made = Copy(tmp_path / "copy", "A callback")
    assert (made.files, made.rows) == ([], [])
    file = ROOT / re.findall(r"`(tests/contributing/additions/\S+)`", section("A callback"))[0]
    data = ("--data", "synthetic:context?train=8&val=3&test=0", "--epochs", "2", "--imgsz", "64", "-o", "run")
    made.regard("train", "odd-one-out", *data, "--callback", f"{file}:JsonLines")
    lines = (made.folder / "run" / "epochs.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


@pytest.mark.skipif(not (ROOT / "studio").is_dir(), reason="the sources of the page are not there")
def test_what_the_section_on_the_page_of_the_studio_names_is_there() -> None:
    text, page = section("The page of the studio"), ROOT / "studio"
    folders = (ROOT, page, page / "src", ROOT / "src" / "regard" / "studio", ROOT / "tests" / "studio")
    named = {word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"[\w*]+[./][\w./*]+", code)}
    assert {"english.ts", "studio/make_types.py", "types.ts"} <= named
    paths = [name for name in named if not name.startswith("regard.")]
    assert [name for name in paths if not any(list(folder.glob(name)) for folder in folders)] == []
    assert "const TABS" in (page / "src" / "App.tsx").read_text(encoding="utf-8")
    scripts = json.loads((page / "package.json").read_text(encoding="utf-8"))["scripts"]
    assert set(re.findall(r"npm run (\w+)", text)) <= scripts.keys()
