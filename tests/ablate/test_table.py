"""The live table of a study: read anew from the folder each time, on a terminal alone."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tiny_studies import Here, tiny_plan

from regard.ablate.study import run_study
from regard.ablate.table import LiveStudy


def test_it_shows_what_has_come_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    shown: list[str] = []

    def look() -> None:
        page = Console(file=io.StringIO(), width=160)
        page.print(LiveStudy(tmp_path / "study"))
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
    assert all("seed 7" in page and "SE(ratio=4)@p4" in page for page in shown)
    assert "0.0" not in shown[0]  # no run has an AP before it has finished
    assert "0.0" in shown[1]
    drawn = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "AP on val" in drawn
    assert "SE-ratio-4-p4 seed-7: AP" not in drawn  # lines are for where there is no terminal
