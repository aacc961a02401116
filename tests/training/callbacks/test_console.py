"""What is printed while training: whole lines in a log and at 80 columns."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console
from sample_events import BATCH, END, EPOCH, ROW, START

from regard.training.callbacks import ConsoleProgress, RunFailed
from regard.training.callbacks.console import header


def printed(*, terminal: bool = False) -> tuple[ConsoleProgress, io.StringIO]:
    """Return the callback, and what it prints, as to a log or terminal of 80 columns."""
    text = io.StringIO()
    return ConsoleProgress(Console(file=text, width=80, force_terminal=terminal)), text


def test_an_epoch_is_one_line_under_its_header() -> None:
    progress, text = printed()
    progress.on_epoch_end(replace(EPOCH, epoch=100, epochs=1000, is_best=True))
    progress.on_epoch_end(replace(EPOCH, epoch=101, epochs=1000))
    heading, line, second = text.getvalue().splitlines()
    assert heading == header(("box", "obj", "cls"))
    assert len(line) <= 80
    words = line.split()
    assert words[:5] == ["100/1000", "0.1372", "0.0100", "0.5000", "0.250"]
    assert words[5:9] == ["0.500", "-", "1.000", "1234.6"]
    assert line.endswith("GiB  best")
    assert second.endswith("GiB")
    ends = [heading.index(name) + len(name) for name in ("box", "AP50", "img/s", "memory")]
    assert all(line[end - 1] != " " and line[end] == " " for end in ends)  # columns end where their heading ends


def test_losses_have_the_names_that_they_have() -> None:
    progress, text = printed()
    progress.on_epoch_end(replace(EPOCH, losses={"dfl": 0.25}, rows=[{**ROW, "train/dfl": 0.25}]))
    heading, line = text.getvalue().splitlines()
    assert heading.split()[:3] == ["epoch", "dfl", "AP"]
    assert line.split()[:3] == ["3/7", "0.2500", "0.250"]


def test_the_gate_that_is_open_farthest_has_a_column() -> None:
    """All gates are in results.csv and at the end of the run; a line of them would double the table."""
    progress, text = printed()
    gates = {f"gate/layer{i}.se": (i - 5) / 8 for i in range(9)}
    progress.on_epoch_end(replace(EPOCH, rows=[{**ROW, **gates}]))
    heading, line = text.getvalue().splitlines()
    assert heading == header(("box", "obj", "cls"), gated=True)
    assert line.split()[8:10] == ["-0.625", "1234.6"]
    assert len(line) <= 80
    end = heading.index("gate") + len("gate")
    assert line[:end].endswith("-0.625")


def test_why_a_run_ended_early_is_printed() -> None:
    progress, text = printed()
    progress.on_run_end(END)
    assert text.getvalue() == ""
    progress.on_run_end(replace(END, reason="no [epoch] was better"))
    assert text.getvalue() == "stopped early: no [epoch] was better\n"


def test_the_bar_fits_80_columns_with_losses_memory_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    progress, _ = printed(terminal=True)
    progress.on_epoch_start(replace(START, epoch=299, epochs=300, steps=1200))
    for step in range(1, 1152):
        progress.on_batch_end(replace(BATCH, epoch=299, step=step, steps=1200))
    console = Console(file=io.StringIO(), width=80)
    console.print(progress.bar.get_renderable())
    progress.on_run_failed(RunFailed(END.folder, 298, KeyboardInterrupt()))
    assert not progress.bar.live.is_started
    (line,) = [line for line in console.file.getvalue().splitlines() if "epoch" in line]  # type: ignore[attr-defined]
    assert "epoch 299/300" in line
    assert "358751" in line
    assert "box 0.123 obj 0.023 cls 0.003" in line
    assert "GiB" in line
    assert "left" in line


def test_a_value_that_is_no_number_is_a_dash() -> None:
    progress, text = printed()
    progress.on_epoch_end(replace(EPOCH, rows=[{**ROW, "val/ap": math.nan}]))
    assert text.getvalue().splitlines()[1].split()[4] == "-"
