"""What the terminal says when a study has ended."""

from __future__ import annotations

import io
from pathlib import Path

from fake_study import fake_study, unfinished
from rich.console import Console

from regard.ablate.tell import print_verdict


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
    assert "seeds are needed to call a difference of 0.01 AP with a probability of 80 %, by the pooled" in text
    assert "SE@sppf does more than plain convolutions" in text


def test_an_unfinished_study_can_tell_nothing(tmp_path: Path) -> None:
    printed = io.StringIO()
    print_verdict(unfinished(fake_study(tmp_path)), Console(file=printed, width=200))
    assert "SE@sppf: can't tell at this budget (0 finished pairs" in printed.getvalue()
    assert "How many seeds it would take is unknown" in printed.getvalue()
