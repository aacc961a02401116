"""Studies as they go on, read from their files."""

from __future__ import annotations

import json
from pathlib import Path

from regard.ablate.folder import StudyFolder, read_study
from regard.ablate.format import headline
from regard.ablate.listing import PLAN, forest_svg, studies_below, verdict_so_far
from regard.ablate.verdict import analyse
from regard.system.locks import LOCK, exclusive
from regard.training.history import LOG, runs_below

DEMO = Path(__file__).resolve().parents[2] / "docs" / "results" / "demo" / "study.json"


def study_in(folder: Path, finished: int) -> Path:
    """A study whose variants have finished this many seeds, with +0.25 AP for each next variant."""
    folder.mkdir(parents=True)
    (folder / "study.json").write_bytes(DEMO.read_bytes())
    document = StudyFolder(folder).read()
    for k, entry in enumerate(document["variants"]):
        for seed in document["plan"]["seeds"][:finished]:
            metrics = {document["plan"]["metric"]: 0.25 + 0.125 * k + 0.0625 * seed * (k == 1)}
            run = folder / "runs" / entry["place"] / f"seed-{seed}"
            run.mkdir(parents=True)
            result = {"metrics": metrics, "per_class": {}, "gates": {}, "seconds": 7.0, "peak_mib": 3.0}
            (run / "result.json").write_text(json.dumps(result))
            (run / "run.json").write_text("{}")
    return folder


def test_studies_are_listed_with_their_runs(tmp_path: Path) -> None:
    folder = study_in(tmp_path / "runs" / "a", 2)
    begun = tmp_path / "runs" / "b"
    begun.mkdir()
    (begun / PLAN).write_text("base: yolov5n")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "study.json").write_text("{}")
    with exclusive(begun / LOCK):
        found = {info.name: info for info in studies_below(tmp_path)}
    assert (found["runs/b"].state, found["runs/b"].runs) == ("running", ())
    assert found["damaged"].fault
    (begun / LOG).write_text("error: no such data\n")
    failed = next(info for info in studies_below(tmp_path) if info.name == "runs/b")
    assert (failed.state, failed.fault) == ("failed", "no such data")
    info, study = found["runs/a"], read_study(folder)
    assert info.state == "stopped"
    assert [(run.variant, run.seed, run.status) for run in info.runs] == [
        (run.variant, run.seed, run.status) for run in study.runs
    ]
    assert sum(run.status == "finished" for run in info.runs) == 2 * len(study.variants)
    assert info.runs[0].value == 0.25
    secret = tmp_path / "secret"
    secret.write_text("epoch,password\n1,12345x\n")
    (folder / "runs" / "base" / "seed-0" / "results.csv").symlink_to(secret)
    linked = next(info for info in studies_below(tmp_path) if info.name == "runs/a")
    assert linked.runs == ()
    assert "link" in linked.fault
    assert runs_below(tmp_path, without="study.json") == []
    assert len(runs_below(folder)) == 2 * len(study.variants)


def test_links_that_lead_nowhere_hide_no_study(tmp_path: Path) -> None:
    for name in ("study.json", PLAN):
        (tmp_path / name.partition(".")[0]).mkdir()
        (tmp_path / name.partition(".")[0] / name).symlink_to(tmp_path / "missing")
    study_in(tmp_path / "a", 3)
    assert [info.name for info in studies_below(tmp_path)] == ["a"]


def test_the_verdict_and_the_plot_are_those_of_the_report(tmp_path: Path) -> None:
    study = read_study(study_in(tmp_path / "a", 3))
    shown = verdict_so_far(study)
    assert shown.headline == headline(study, analyse(study))
    assert len(shown.sentences) >= 1
    plots = {forest_svg(study, wide=wide, dark=dark) for wide in (True, False) for dark in (True, False)}
    assert len(plots) == 4
    assert all(study.variants[1].name in plot and "var(--" not in plot for plot in plots)
