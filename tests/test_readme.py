"""The README and the pages in docs/ are run as they stand: every ``sh`` and ``python`` block, in order, page by page.

Each page has a separate folder with small real inputs under the names that the pages use: ``yolov5n.pt`` (published
where ``shared`` has it, else fresh weights), ``path/to/data`` (drawn discs and squares in YOLO form), ``street.jpg``
and ``cells.png``. A block whose first line is a comment with a file's name, such as ``# street.yaml``, is that file.
The ``python`` blocks of a page share their names, as the cells of a notebook do. A ``text`` block is what the block
before it has to print, ``...`` standing for anything; where it begins with ``error:``, the command has to be rejected.
"""

from __future__ import annotations

import gettext
import io
import re
import shlex
import shutil
import socket
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import typer
from rich import _wrap
from rich.text import Text
from typer.core import TyperGroup

import regard
from regard.__main__ import main
from regard.cli import app
from test_layering import LEVELS

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "README.zh-TW.md", *sorted((ROOT / "docs").glob("*.md")))
RUN = [page for page in PAGES if not page.name.endswith(".zh-TW.md")]
"""Pages in Chinese have the code of the English ones, and are run where they show what their commands print."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^```sh\n[^`]*```\n+```text\n", re.MULTILINE)
COMMENT = re.compile("  +# .*")
FILE_NAME = re.compile(r"# ([\w.-]+\.(?:py|ya?ml))\n")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
SHOWN = [page for page in PAGES if ".zh-TW" in page.name and PRINTED.search(page.read_text(encoding="utf-8"))]

NOT_RUN = {
    "make": "sets the environment up, or runs these very tests",
    ".": "enters the virtual environment",
    "pip": "installs the package",
}
"""First words of commands that are not run, each with its reason."""

ERRORS = ("error:", "錯誤：")

SLOW = re.compile(r"onnx|openvino|--devices|regard ablate")
"""Converting takes tens of seconds, starting processes too: run in the slow test, only parsed in the other."""

ENDLESS = ("studio",)
"""Commands that run until they are interrupted: only parsed."""

SHORTER = ((re.compile(r"(--epochs |epochs=|--seeds )\d+"), r"\g<1>1"),)
"""One epoch and one seed show that a command trains; the README's numbers show only that it takes time."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        match = FILE_NAME.match(self.text)
        return match[1] if match else None


def blocks(text: str) -> list[Block]:
    return [Block(*match.groups()) for match in FENCE.finditer(text)]


def commands(block: Block) -> list[list[str]]:
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run_page(text: str, *, slow: bool) -> None:
    """Run what a page shows, in the working folder."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block, after in pairwise([*blocks(text), Block("", "")]):
        expected = after.text if after.language == "text" and block.language in ("sh", "python") else None
        printed = run_block(block, names, slow=slow, rejected=(expected or "").startswith(ERRORS))
        if expected is not None and printed is not None:
            assert agree(printed, expected), f"after\n{block.text}\nthe page has\n{expected}\nprinted was\n{printed}"


def run_block(block: Block, names: dict[str, Any], *, slow: bool, rejected: bool) -> str | None:
    """Run one block and return what it printed; None where that says nothing, as it was not, or not all, run."""
    if block.file:
        Path(block.file).write_text(block.text)
        return None
    printed = io.StringIO()
    reported = shortened(block.text) == block.text
    with redirect_stdout(printed), redirect_stderr(printed):
        if block.language == "sh":
            for words in commands(block):
                reported &= run_command(words, slow=slow, code=2 if rejected else 0)
        elif block.language == "python":
            exec(compile(shortened(block.text), "python block", "exec"), names)
    return printed.getvalue() if reported else None


def agree(printed: str, expected: str) -> bool:
    """Compare line by line; three dots stand for any text, or any lines; spaces at the end of a line do not count."""
    lines = [r"(?:.*\n)*?" if line == "..." else _pattern(line.rstrip()) + "\n" for line in expected.splitlines()]
    return re.fullmatch("".join(lines), "".join(f"{line.rstrip()}\n" for line in printed.splitlines())) is not None


def _pattern(line: str) -> str:
    return ".*?".join(map(re.escape, line.split("...")))


def run_command(words: list[str], *, slow: bool, code: int = 0) -> bool:
    """Run one command in this process (starting torch again for each would take minutes); return whether it was run."""
    if words[0] in NOT_RUN:
        return False
    assert words[0] == "regard", f"what runs {words[0]!r}?"
    words = shlex.split(shortened(shlex.join(words)))
    if words[1] in ENDLESS or (not slow and SLOW.search(" ".join(words))):
        parse(words[1:])
        return False
    before = sys.argv
    show = warnings.showwarning
    sys.argv = words
    try:
        main()
        found: str | int = 0
    except SystemExit as stop:
        found = stop.code or 0
    finally:
        sys.argv, warnings.showwarning = before, show
    assert found == code, f"{shlex.join(words)} exits {found}"
    return True


def parse(arguments: list[str]) -> None:
    """Check the command and its options without running it."""
    group = commands_of_regard()
    name, *rest = arguments
    command = group.get_command(None, name)  # asked for, since some are imported only then
    assert command is not None, f"there is no command {name!r}"
    try:
        command.make_context(name, rest)
    except Exception as error:  # of click, which some versions of typer bring with them and others import
        raise AssertionError(f"regard {shlex.join(arguments)}: {error}") from error


def commands_of_regard() -> TyperGroup:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return group


def shortened(text: str) -> str:
    for pattern, replacement in SHORTER:
        text = pattern.sub(replacement, text)
    return text


def scene(generator: np.random.Generator) -> tuple[np.ndarray, str]:
    """Return an image of a disc and a square, and its labels."""
    image = np.full((120, 160, 3), 114, np.uint8)
    rows = []
    for class_id in range(2):
        x, y = 40 + 80 * class_id + int(generator.integers(-9, 10)), int(generator.integers(40, 80))
        if class_id:
            cv2.rectangle(image, (x - 20, y - 20), (x + 19, y + 19), (200, 60, 40), cv2.FILLED)
        else:
            cv2.circle(image, (x, y), 20, (40, 60, 200), cv2.FILLED)
        rows.append(f"{class_id} {x / 160:.5f} {y / 120:.5f} {40 / 160:.5f} {40 / 120:.5f}\n")
    return image, "".join(rows)


@pytest.fixture
def _inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a working folder with what the pages name, from which no network can be reached."""

    connect = socket.socket.connect

    def refuse(opened: socket.socket, address: str) -> None:
        if opened.family == socket.AF_UNIX:  # processes that load images talk to each other
            connect(opened, address)
            return
        opened.close()
        raise AssertionError("something is fetched at run time")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    data = tmp_path / "path" / "to" / "data"
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for kind in ("images", "labels"):
            (data / kind / split).mkdir(parents=True)
        for i in range(count):
            image, labels = scene(generator)
            assert cv2.imwrite(str(data / "images" / split / f"{i}.jpg"), image)
            (data / "labels" / split / f"{i}.txt").write_text(labels)
    (data / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [disc, square]\n")
    assert cv2.imwrite(str(tmp_path / "street.jpg"), scene(generator)[0])
    shutil.copy(ROOT / "docs" / "images" / "tutorial" / "cells.png", tmp_path)
    published = ROOT.parent / "shared" / "weights" / "yolov5n.pt"
    if published.is_file():
        shutil.copy(published, tmp_path / "yolov5n.pt")
    else:
        torch.save(regard.load("yolov5n").state_dict(), tmp_path / "yolov5n.pt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_attention", raising=False)  # of another page


@pytest.mark.usefixtures("_inputs")
@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_runs(page: Path) -> None:
    run_page(page.read_text(encoding="utf-8"), slow=False)


@pytest.mark.slow
@pytest.mark.usefixtures("_inputs")
@pytest.mark.parametrize("page", [p for p in RUN if SLOW.search(p.read_text(encoding="utf-8"))], ids=lambda p: p.name)
def test_what_a_page_shows_runs_with_all_that_takes_long(page: Path) -> None:
    run_page(page.read_text(encoding="utf-8"), slow=True)


@pytest.mark.slow
@pytest.mark.usefixtures("_inputs")
@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_a_page_in_chinese_shows_what_is_printed_in_chinese(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_LANG", "zh-TW")
    monkeypatch.setenv("LANGUAGE", "")
    monkeypatch.setattr(_wrap, "re_word", _wrap.re_word)  # which is replaced for Chinese
    monkeypatch.setattr(Text, "rstrip_end", Text.rstrip_end)
    domain = gettext.textdomain()
    try:
        run_page(page.read_text(encoding="utf-8"), slow=False)
    finally:
        gettext.textdomain(domain)


@pytest.mark.usefixtures("_inputs")
@pytest.mark.parametrize(
    "wrong",
    [
        "```sh\nregard sumary yolov5n\n```\n",
        "```sh\nregard summary yolov5n --fromat json\n```\n",
        "```sh\nregard summary yolov5q\n```\n",
        "```sh\nregard export yolov5n --format onnx --sise 3\n```\n",
        "```sh\nrm -r .\n```\n",
        '```python\nimport regard\n\nregard.load("yolov5q")\n```\n',
        '```python\nimport urllib.request\n\nurllib.request.urlopen("http://127.0.0.1:9")\n```\n',
        "```python\nprint(1)\n```\n```text\n2\n```\n",
        "```sh\nregard summary yolov5q\n```\n```text\nerror: no such thing\n```\n",
        "```sh\nregard summary yolov5n\n```\n```text\nerror: ...\n```\n",
        "```yaml\n# wrong.yaml\nbase: yolov5n\ninsert: [{after: spff, module: SE}]\n```\n"
        "```sh\nregard summary wrong.yaml\n```\n",
    ],
)
def test_what_is_wrong_is_noticed(wrong: str) -> None:
    with pytest.raises((AssertionError, regard.RegardError)):
        run_page(wrong, slow=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [p for p in PAGES if ".zh-TW" in p.name], ids=lambda page: page.name)
def test_a_page_in_chinese_has_the_code_of_the_english_one(page: Path) -> None:
    both = (page, page.with_name(page.name.replace(".zh-TW", "")))
    own, english = (
        [
            (language, COMMENT.sub("", code))
            for language, code in FENCE.findall(one.read_text("utf-8"))
            if language != "text"
        ]
        for one in both
    )
    assert own == english


def test_the_readme_names_every_command() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    shown = [name for name, command in commands_of_regard().commands.items() if not command.hidden]
    for name in shown:
        assert f"`regard {name}" in text, name


def test_the_order_of_imports_is_the_one_that_is_tested() -> None:
    order = " > ".join(", ".join(rooms) for rooms in LEVELS)
    assert order in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
