"""A study in the terminal: the live table, read from the folder each time, and the verdict at the end."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_study import fake_study, unfinished
from rich.console import Console
from tiny_studies import Here, tiny_plan

from regard.ablate.folder import read_study
from regard.ablate.format import epochs_of, print_verdict, study_table
from regard.ablate.study import run_study


def test_it_shows_what_has_come_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    shown: list[str] = []

    def look() -> None:
        page = Console(file=io.StringIO(), width=160)
        page.print(study_table(read_study(tmp_path / "study"), epochs_of(tmp_path / "study")))
        shown.append(page.file.getvalue())  # type: ignore[attr-defined]

    class Watched(Here):
        def run(self, folders):  # type: ignore[no-untyped-def]
            look()
            for folder in super().run(folders):
                look()
                yield folder

    terminal = Console(file=io.StringIO(), force_terminal=True, width=160)
    monkeypatch.setenv("TERM", "xterm")
    run_study(tiny_plan(control="none", seeds=[7]), tmp_path / "study", executor=Watched(), console=terminal)
    assert ["of 2 runs finished" in page for page in shown] == [True] * 3
    assert [page.split(" of 2 runs")[0][-1] for page in shown] == ["0", "1", "2"]
    assert all("seed 7" in page and "SE(reduction=4)@p4" in page for page in shown)
    assert "0.0" not in shown[0]  # no run has an AP before it has finished
    assert "0.0" in shown[1]
    drawn = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "AP on val" in drawn
    assert "SE-reduction-4-p4 seed-7: AP" not in drawn  # lines are for where there is no terminal


def test_the_verdict_ends_with_the_report(tmp_path: Path) -> None:
    printed = io.StringIO()
    print_verdict(fake_study(tmp_path), Console(file=printed, width=80))
    lines = printed.getvalue().splitlines()
    assert lines[0].startswith("SE@sppf helps: +0.0")
    assert lines[-1] == f"report: {tmp_path / 'report.html'}"
    assert all(len(line) <= 80 for line in lines[:-1])
    text = " ".join(printed.getvalue().split())
    assert "CBAM@p4 hurts" in text
    assert "<b>A&B</b>|x: can't tell at this budget" in text
    assert "3 paired seeds); about 4 more seeds needed." in text
    assert "5 paired seeds); about 2 more seeds needed." in text
    assert "seeds are needed to detect a difference of 0.01 AP with a probability of 80 %, by the pooled" in text
    assert "SE@sppf is better than plain convolutions" in text


def test_an_unfinished_study_can_tell_nothing(tmp_path: Path) -> None:
    printed = io.StringIO()
    print_verdict(unfinished(fake_study(tmp_path)), Console(file=printed, width=200))
    assert "SE@sppf: can't tell at this budget (0 finished pairs" in printed.getvalue()
    assert "The number of seeds needed is unknown" in printed.getvalue()


def test_what_has_learned_nothing_needs_no_more_seeds(tmp_path: Path) -> None:
    study, printed = fake_study(tmp_path), io.StringIO()
    runs = [replace(run, metrics={name: 0.01 * value for name, value in run.metrics.items()}) for run in study.runs]
    print_verdict(replace(study, runs=runs), Console(file=printed, width=300))
    lines = [line for line in printed.getvalue().splitlines() if "learned next to nothing" in line]
    assert len(lines) > 1
    assert [line for line in lines if "needed" in line] == [
        "The number of seeds needed is unknown: the base learned next to nothing."
    ]
