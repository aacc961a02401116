"""The demonstration, cut down to a few images and epochs."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from regard import demo
from regard.ablate.hardware import Hardware, hardware_here
from regard.ablate.processes import run_job
from regard.ablate.study import run_study
from regard.ablate.trainable import Job
from regard.ablate.variants import VariantBuilder

NAMES = ["base", "self-attention", "control of self-attention"]


class Here:
    """Executes runs in this process, which spares the start of nine others."""

    def run(self, jobs: Sequence[Job]) -> Generator[Path, None, None]:
        for job in jobs:
            run_job(job)
            yield job.folder

    def hardware(self, train: Mapping[str, Any]) -> Hardware:
        return hardware_here(train)


def test_it_compares_self_attention_and_its_control_in_paired_seeds() -> None:
    plan = demo.context_plan()
    entries = VariantBuilder(plan).variants
    assert [entry.name for entry in entries] == NAMES
    assert [entry.role for entry in entries] == ["base", "variant", "capacity control"]
    assert (plan.seeds, plan.gate, plan.metric) == ((0, 1, 2), False, "ap50")
    assert len(demo.local_plan().seeds) == 1
    assert plan.data.startswith("synthetic:context")
    assert demo.local_plan().data.startswith("synthetic:local")


@pytest.mark.slow
def test_the_demonstration_ends_with_a_verdict_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "CONTEXT", "synthetic:context?train=13&val=5&test=0")
    monkeypatch.setattr(demo, "LOCAL", "synthetic:local?train=13&val=5&test=0")
    monkeypatch.setattr(demo, "EPOCHS", 1)
    monkeypatch.setattr(demo, "BATCH", 4)
    monkeypatch.setattr(demo, "SEEDS", (0, 1))
    monkeypatch.setattr(demo, "run_study", partial(run_study, executor=Here()))
    study = demo.run_demo(tmp_path)
    assert [variant.name for variant in study.variants] == NAMES
    assert all(run.status == "finished" for run in study.runs)
    text = _printed(capsys, tmp_path)
    for words in (
        "context: 6 runs",
        "local: 3 runs",
        "self-attention seed-1: AP50",
        "Local: the same scenes",
        "not show that attention",
    ):
        assert words in text, words
    assert text.index("Measured on images") < text.index("(95 % interval") < text.index("report.html")
    for task in ("context", "local"):
        assert (tmp_path / task / "report.html").is_file()

    again = demo.run_demo(tmp_path)
    assert [run.metrics for run in again.runs] == [run.metrics for run in study.runs]
    shown = _printed(capsys, tmp_path)
    assert "seed-1: AP50" not in shown
    assert shown[shown.index("Measured on images") :] == text[text.index("Measured on images") :]


def _printed(capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """Return what was printed on one line, after a look that it fits 80 columns."""
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines if str(folder) not in line)
    return " ".join(" ".join(lines).split())
