"""Steps after the last run fail by themselves: the verdict and the report are there, and say what is missing."""

from __future__ import annotations

import io
import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_study import SMALL, fake_study, with_detections
from rich.console import Console
from tiny_studies import Here, tiny_plan

from regard.ablate import detector
from regard.ablate.detector import DetectorExperiment, DetectorTrainable
from regard.ablate.folder import read_study
from regard.ablate.hardware import Hardware
from regard.ablate.report import Extras, write_report
from regard.ablate.study import image_intervals, run_study
from regard.ablate.trainable import Job, Missing, digest_of


def test_an_exception_is_noted_and_the_others_continue() -> None:
    missing = Missing(["more"])
    with missing.unless_done("costs of A"):
        raise ZeroDivisionError("by zero\nand more")
    with missing.unless_done("costs of B"):
        pass
    assert missing.lines == ["more", "costs of A: ZeroDivisionError: by zero"]
    with pytest.raises(KeyboardInterrupt), missing.unless_done("a stop is no failure"):
        raise KeyboardInterrupt


def test_the_report_is_written_although_earlier_steps_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)

    def broken(*_: object, **__: object) -> None:
        raise ValueError("no image")

    monkeypatch.setattr("regard.ablate.detector.attend", broken)
    evaluate = DetectorTrainable.evaluate
    monkeypatch.setattr(
        DetectorTrainable, "evaluate", lambda run, split: broken() if split == "test" else evaluate(run, split)
    )
    measure = detector.measure_costs

    def brittle(detectors, **settings):  # type: ignore[no-untyped-def]
        if "SE(reduction=4)@p4" in detectors:
            raise ArithmeticError("nobody counted")
        return measure(detectors, **settings)

    monkeypatch.setattr(detector, "measure_costs", brittle)
    printed = io.StringIO()
    study = run_study(
        tiny_plan(control="none", seeds=[0]),
        tmp_path / "study",
        executor=Here(),
        console=Console(file=printed, width=200),
    )
    report = (tmp_path / "study" / "report.md").read_text()
    for line in (
        "costs of SE(reduction=4)@p4: ArithmeticError: nobody counted",
        "attention map of p4.se in SE(reduction=4)@p4: ValueError: no image",
        "test of base, seed 0: ValueError: no image",
    ):
        assert f"missing from the report: {line}" in printed.getvalue()
        assert line.partition(": ")[2] in report
    assert "Missing from this report" in report
    assert study.costs.keys() == {"base"}
    assert read_study(tmp_path / "study").provenance["decision"]["verdicts"] == {"SE(reduction=4)@p4": "can't tell"}


def test_a_head_without_the_device_of_the_runs_measures_on_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a cluster whose head has no GPU: the runs' processes have one, the driver has not."""
    torch.set_num_threads(1)
    plan = tiny_plan(control="none", seeds=[0], train={"device": "cuda"})

    class Elsewhere(Here):
        def hardware(self, _: Mapping[str, Any]) -> Hardware:
            return Hardware("cuda", "32", 0)

        def run(self, jobs: Sequence[Job]) -> Generator[Path, None, None]:
            changed = []
            for job in jobs:
                document = job.read()
                document["arguments"]["settings"]["device"] = "cpu"
                (job.folder / "job.json").write_text(json.dumps(document))
                changed.append(Job(job.folder, digest_of(document)))
            yield from super().run(changed)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    study = run_study(plan, tmp_path / "study", executor=Elsewhere(), console=Console(quiet=True))
    assert study.test["base"][0].keys() == study.runs[0].metrics.keys()
    reported = "Latencies on cpu, as the machine that measured has no cuda are medians"
    assert reported in (tmp_path / "study" / "report.md").read_text()


def test_damaged_detections_cost_their_sections_alone(tmp_path: Path) -> None:
    experiment = DetectorExperiment(tiny_plan(data=SMALL, control="none"))
    study = with_detections(fake_study(tmp_path), experiment.builder.data)
    (study.runs[0].folder / "val.json").write_text(json.dumps([1]))
    missing = Missing()
    assert image_intervals(study, experiment, missing) == {}
    text = write_report(study, Extras(*experiment.samples(), missing=missing.lines)).read_text()
    assert "intervals over images: " in text
    assert "images that changed most: " in text
    assert "SE@sppf helps" in text
