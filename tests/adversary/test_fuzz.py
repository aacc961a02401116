"""A bounded number of damaged files of every kind: one error each, no traceback, no crash, no hang, no left-overs."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import KINDS, make_corpus, run_cases

FEW, MANY = 18 * 16, 20_000


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_damaged_files_are_errors(count: int, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    make_corpus(corpus, study=count == MANY)
    cases = run_cases(count, 0, list(KINDS), corpus, tmp_path / "cases", tmp_path / "cache")
    faults = [str(case) for case in cases if case.fault]
    assert not faults, "\n\n".join(faults[:20])
