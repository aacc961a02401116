"""What is printed while training: whole lines in a log and at 80 columns."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

import pytest
from rich.console import Console

from regard.training.progress import HEADER, Progress, peak_memory

ROW = {
    "epoch": 100.0,
    "train/box": 0.13721,
    "train/obj": 0.01,
    "train/cls": 0.5,
    "val/ap": 0.25,
    "val/ap50": 0.5,
    "val/precision": math.nan,
    "val/recall": 1.0,
    "images_per_second": 1234.56,
}


def recorded(progress: Progress, *, terminal: bool = False) -> io.StringIO:
    """Send what it prints to a text of 80 columns, as to a log."""
    text = io.StringIO()
    progress.console.file = text
    progress.console.width = 80
    progress.console._force_terminal = terminal
    return text


def test_an_epoch_is_one_line_under_its_header() -> None:
    progress = Progress(1000)
    text = recorded(progress)
    with progress:
        progress.epoch(ROW, is_best=True)
    header, line = text.getvalue().splitlines()
    assert header == HEADER
    assert len(line) <= 80
    words = line.split()
    assert words[:5] == ["100/1000", "0.1372", "0.0100", "0.5000", "0.250"]
    assert words[5:9] == ["0.500", "-", "1.000", "1234.6"]
    assert line.endswith("GiB  best")
    ends = [HEADER.index(name) + len(name) for name in ("box", "AP50", "img/s", "memory")]
    assert all(line[end - 1] != " " and line[end] == " " for end in ends)  # columns end where their heading ends


def test_gates_have_a_line_of_their_own_that_is_never_broken() -> None:
    progress = Progress(3)
    text = recorded(progress)
    progress.epoch({**ROW, **{f"gate/layer{i}.se": i / 8 for i in range(9)}}, is_best=False)
    line, gates = text.getvalue().splitlines()
    assert "best" not in line
    assert gates.startswith("   gates layer0.se +0.0000  layer1.se +0.1250")
    assert gates.endswith("layer8.se +1.0000")


def test_names_are_printed_as_they_are() -> None:
    progress = Progress(3)
    text = recorded(progress)
    progress.say("classes: [red] cell")
    assert text.getvalue() == "classes: [red] cell\n"


def test_other_processes_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(3, enabled=False) as progress:
        progress.say("something")
        progress.epoch(ROW, is_best=True)
        assert list(progress.batches(0, iter("ab"), 2)) == ["a", "b"]
    assert capsys.readouterr().out == ""


def test_the_bar_fits_80_columns_with_losses_memory_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    progress = Progress(300)
    progress._bar.live.console = console = Console(file=io.StringIO(), width=80, force_terminal=True)

    def batches() -> Iterator[int]:
        for i in range(1200):
            progress.losses({"box": 0.1234, "obj": 0.0234, "cls": 0.0034})
            yield i
            if i == 1150:
                break

    list(progress.batches(298, batches(), 1200))
    console.print(progress._bar.get_renderable())
    (line,) = [line for line in console.file.getvalue().splitlines() if "epoch" in line]  # type: ignore[attr-defined]
    assert "epoch 299/300" in line
    assert "box 0.123 obj 0.023 cls 0.003" in line
    assert peak_memory() in line
    assert "left" in line
