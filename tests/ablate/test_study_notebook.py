"""What a notebook shows of a study: the verdicts of its report."""

from __future__ import annotations

import html
from pathlib import Path

from fake_study import fake_study

from regard.ablate.format import headline, verdict_label
from regard.ablate.verdict import analyse


def test_a_notebook_shows_the_verdicts_of_the_report(tmp_path: Path) -> None:
    study = fake_study(tmp_path)
    page, results = study._repr_html_(), analyse(study)
    assert html.escape(headline(study, results)) in page
    for name, judgement in results.judgements.items():
        assert html.escape(name) in page
        assert html.escape(verdict_label(judgement, study.mde)) in page
    assert "<b>" not in page
    assert page.count("<tr") == 1 + len(results.judgements) + len(results.beyond)
