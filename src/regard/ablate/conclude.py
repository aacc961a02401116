"""How a study ends: decided on val, measured once on test, its costs taken, told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import torch
from rich.console import Console

from regard.ablate.findings import analyse
from regard.ablate.folder import RESULT, Document, StudyFolder, read_json, read_study
from regard.ablate.gaps import Gaps
from regard.ablate.hardware import describe_device, device_here
from regard.ablate.measure import detect_split, measure_costs, place_for
from regard.ablate.pictures import attention_pictures
from regard.ablate.record import RunRecord, StudyRecord
from regard.ablate.report import Extras, write_report
from regard.ablate.variants import Lineup
from regard.errors import RegardError
from regard.evaluation import score
from regard.evaluation.metrics import HEADLINE
from regard.graph.detector import Detector
from regard.weights.detector import load_detector


def conclude(study: StudyFolder, lineup: Lineup, console: Console) -> StudyRecord:
    """Decide, measure what is left to measure, and write the report; what was done before is not done again.

    What cannot be measured or drawn is missing from the report, which says so; the verdict and the rest are there.

    Raises:
        RegardError: seeds had no effect, or a file is damaged.
    """
    check_effect(read_study(study.path))
    _decide(study)
    gaps = Gaps()
    with _threads(study.read()["threads"]):
        _measure_test(study, lineup, console, gaps)
        _measure_costs(study, lineup, gaps)
    record = read_study(study.path)
    attention = attention_pictures(record, lineup, gaps)
    for line in gaps.told:
        console.print(f"missing from the report: {line}", markup=False, highlight=False, soft_wrap=True)
    write_report(record, Extras(lineup.data.splits["val"], lineup.data.names, attention, gaps.told))
    return record


def check_effect(record: StudyRecord) -> None:
    """Check that training differed with the seed.

    Raises:
        RegardError: two seeds of the base ended with the same weights to the last bit.
    """
    seen: dict[str, int] = {}
    for seed, run in record.finished(record.base.name).items():
        digest = read_json(run.folder / RESULT)["weights"]
        if digest in seen:
            raise RegardError(
                f"the seeds {seen[digest]} and {seed} of the base ended with the same weights",
                file=run.folder,
                hint="seeds that change nothing say nothing about chance",
            )
        seen[digest] = seed


def _decide(study: StudyFolder) -> None:
    """Write the verdicts on val, before anything is measured on test."""
    document = study.read()
    if document.get("test"):
        return
    findings = analyse(read_study(study.path))
    verdicts = {name: judgement.verdict.words for name, judgement in findings.judgements.items()}
    document["decision"] = {"at": _now(), "split": "val", "verdicts": verdicts}
    document["provenance"]["decision"] = document["decision"]
    study.write(document)


def _measure_test(study: StudyFolder, lineup: Lineup, console: Console, gaps: Gaps) -> None:
    """Measure every finished run on the test split, once; what has been measured stays."""
    records = lineup.data.splits.get("test")
    if not records:
        return
    document, plan = study.read(), lineup.plan
    assert document["decision"]
    test: dict[str, dict[str, Any]] = document.setdefault("test", {})
    finished = [run for run in read_study(study.path).runs if run.status == "finished"]
    left = [run for run in finished if str(run.seed) not in test.get(run.variant, {})]
    if left:
        console.print(f"decided on val; measuring {len(left)} runs on test, once ...", highlight=False)
    for run in left:
        with gaps.noted(f"test of {run.variant}, seed {run.seed}"):
            detector = trained_detector(run, lineup, _device(document))
            detections = detect_split(detector, records, imgsz=plan.imgsz, batch=plan.batch)
            values = score(detections, records, lineup.data.names).to_dict()
            test.setdefault(run.variant, {})[str(run.seed)] = {name: values[name] for name in HEADLINE}
            study.write(document)


def _measure_costs(study: StudyFolder, lineup: Lineup, gaps: Gaps) -> None:
    """Measure what each variant with a finished run costs, all in one run, once."""
    document, record = study.read(), read_study(study.path)
    first = {v.name: next(iter(record.finished(v.name).values()), None) for v in record.variants}
    trained = {name: run for name, run in first.items() if run}
    if not trained or trained.keys() == document.get("costs", {}).keys():
        return
    detectors = {}
    for name, run in trained.items():
        with gaps.noted(f"costs of {name}"):
            detector = trained_detector(run, lineup, _device(document)).eval()
            measure_costs({name: detector}, imgsz=lineup.plan.imgsz, repeats=1)  # what fails shall fail alone
            detectors[name] = detector
    if detectors:
        with gaps.noted("costs"):
            costs = measure_costs(detectors, imgsz=lineup.plan.imgsz)
            device = describe_device(_device(document))
            document["costs"] = {name: vars(replace(cost, device=device)) for name, cost in costs.items()}
            study.write(document)


def trained_detector(run: RunRecord, lineup: Lineup, device: str) -> Detector:
    """Return what a run came to, on the device of the runs, or what stands in for it on a machine without."""
    detector = load_detector(run.folder / f"{lineup.plan.epoch}.safetensors", modules=lineup.modules)
    return place_for(detector, device_here(device))


def _device(document: Document) -> str:
    return str(document["provenance"]["hardware"]["device"])


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute as the runs did."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
