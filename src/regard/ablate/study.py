"""A study from beginning to end: set up, run, decided on val, measured once on test, reported.

Nothing that continuing needs is kept in memory: the same call on the same folder continues where the last one ended,
however that ended, and repeats no finished run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from regard.ablate.detector import DetectorExperiment
from regard.ablate.executors import Executor, LocalExecutor, local_slots
from regard.ablate.folder import JOB, RESULT, VAL, Document, StudyFolder, StudyRecord, read_json, read_study
from regard.ablate.format import print_lines, progress
from regard.ablate.hardware import device_here, free_gpus, hardware_here
from regard.ablate.plan import Plan, StudySettings
from regard.ablate.power_analysis import shared_threads
from regard.ablate.report import Extras, write_report
from regard.ablate.setup import create_study, open_study, prepare_runs
from regard.ablate.statistics import draw_images, image_interval
from regard.ablate.trainable import Experiment, Job, Missing
from regard.ablate.verdict import analyse
from regard.errors import RegardError
from regard.system.interrupts import interrupts_deferred
from regard.system.terminal import plain_console
from regard.system.translation import translate


@interrupts_deferred()
def run_study(
    plan: StudySettings,
    folder: str | Path,
    *,
    experiment: Experiment | None = None,
    executor: Executor | None = None,
    threads: int | None = None,
    processes: int | None = None,
    retry_failed: bool = False,
    console: Console | None = None,
) -> StudyRecord:
    """Run a study, or what is left of it, and write its report, ``report.html`` in its folder.

    Args:
        plan: what is compared; that of the folder, if it contains a study.
        folder: for everything.
        experiment: the variants and how they are trained; the detectors of a `Plan` if None.
        executor: where runs are executed; this machine if None.
        threads: number of threads of each run, settled when a study begins; a share of the cores if None.
        processes: number of parallel runs on this machine; as many as memory and cores allow if None.
        retry_failed: try failed runs again; not after anything was measured on test.
        console: for progress; a live table if it is a terminal.

    Raises:
        RegardError: the plan, the data or a variant is wrong; the folder contains another study, or is in use.
    """
    study, console = StudyFolder(Path(folder)), console or plain_console()
    with study.locked():
        experiment = experiment or _detectors(plan)
        train = plan.train if isinstance(plan, Plan) else {}
        hardware = executor.hardware(train) if executor else hardware_here(train)
        if study.exists:
            document = open_study(study, plan, experiment, hardware)
        else:
            threads = threads or shared_threads(len(experiment.variants()), len(plan.seeds), processes)
            measure = executor is None and processes is None
            document = create_study(study, plan, experiment, threads, hardware, console, measure=measure)
        jobs = prepare_runs(study, document, experiment, retry_failed=retry_failed)
        executor = executor or LocalExecutor(_slots(document, processes))
        _execute(jobs, study, document["plan"]["metric"], executor, console)
        return finalize(study, experiment, console)


def _detectors(plan: StudySettings) -> Experiment:
    if not isinstance(plan, Plan):
        raise RegardError("the plan does not describe detectors", expected="a Plan, or an experiment")
    return DetectorExperiment(plan)


def _slots(document: Document, processes: int | None) -> list[dict[str, str]]:
    peak, device = (document["probe"] or {}).get("peak_mib", 0.0), document["provenance"]["hardware"]["device"]
    if device_here(device) != device:
        raise RegardError(f"this study began on {device}, and there is none here", hint="continue it where it began")
    return local_slots(peak, document["threads"], processes, free_gpus(device))


def _execute(jobs: Sequence[Job], study: StudyFolder, metric: str, executor: Executor, console: Console) -> None:
    """Complete every run, showing progress."""
    if not jobs:
        return
    with progress(study.path, console, metric) as show, closing(executor.run(jobs)) as ended:
        for folder in ended:
            show(folder)


def finalize(study: StudyFolder, experiment: Experiment, console: Console) -> StudyRecord:
    """Decide, measure what is left to measure, and write the report; what was done before is not done again.

    What cannot be measured or drawn is missing from the report, with a note; the verdict does not depend on it.

    Raises:
        RegardError: seeds had no effect, or a file is damaged.
    """
    check_effect(read_study(study.path))
    _decide(study)
    missing = Missing()
    with _torch_threads(study.read()["threads"]):
        _measure_test(study, experiment, console, missing)
        _measure_costs(study, experiment, missing)
    record = read_study(study.path)
    figures = experiment.figures(record, missing)
    intervals = image_intervals(record, experiment, missing)
    print_lines(console, [translate(f"missing from the report: {line}") for line in missing.lines], wrap=False)
    write_report(record, Extras(*experiment.samples(), intervals, figures, missing.lines))
    return record


def check_effect(record: StudyRecord) -> None:
    """Check that training differed with the seed.

    Raises:
        RegardError: two seeds of the base ended with the same weights to the last bit.
    """
    seen: dict[str, int] = {}
    for seed, run in record.finished(record.base.name).items():
        digest = read_json(run.folder / RESULT).get("weights", "")
        if digest and digest in seen:
            raise RegardError(
                f"the seeds {seen[digest]} and {seed} of the base ended with the same weights",
                file=run.folder,
                hint="seeds that change nothing contain no information about chance",
            )
        seen[digest] = seed


def _decide(study: StudyFolder) -> None:
    """Write the verdicts on val, before anything is measured on test."""
    document = study.read()
    if document.get("test"):
        return
    results = analyse(read_study(study.path))
    verdicts = {name: judgement.verdict.label for name, judgement in results.judgements.items()}
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    document["decision"] = {"at": now, "split": "val", "verdicts": verdicts}
    document["provenance"]["decision"] = document["decision"]
    study.write(document)


def _measure_test(study: StudyFolder, experiment: Experiment, console: Console, missing: Missing) -> None:
    """Measure every finished run on the test split, once; what has been measured stays."""
    if not experiment.images.get("test"):
        return
    document = study.read()
    assert document["decision"]
    test: dict[str, dict[str, Any]] = document.setdefault("test", {})
    finished = [run for run in read_study(study.path).runs if run.status == "finished"]
    left = [run for run in finished if str(run.seed) not in test.get(run.variant, {})]
    if left:
        console.print(translate(f"decided on val; measuring {len(left)} runs on test, once ..."), highlight=False)
    for run in left:
        with missing.unless_done(f"test of {run.variant}, seed {run.seed}"):
            trainable = experiment.run(run.folder, read_json(run.folder / JOB)["arguments"])
            metrics = trainable.evaluate("test").metrics
            test.setdefault(run.variant, {})[str(run.seed)] = dict(metrics)
            study.write(document)


def _measure_costs(study: StudyFolder, experiment: Experiment, missing: Missing) -> None:
    """Measure the cost of each variant with a finished run, all in one process, once."""
    document, record = study.read(), read_study(study.path)
    first = {v.name: next(iter(record.finished(v.name).values()), None) for v in record.variants}
    trained = {name: run for name, run in first.items() if run}
    if not trained or trained.keys() == document.get("costs", {}).keys():
        return
    with missing.unless_done("costs"):
        costs = experiment.costs(trained, document["provenance"]["hardware"]["device"], missing)
        if costs:
            document["costs"] = {name: vars(cost) for name, cost in costs.items()}
            study.write(document)


def image_intervals(study: StudyRecord, experiment: Experiment, missing: Missing) -> dict[str, tuple[float, float]]:
    """Compute for every variant the image bootstrap interval of its difference from the base, averaged over seeds.

    Args:
        study: whose finished runs have their results in their folders; others are left out.
        experiment: that reads the results.
        missing: where it is recorded that they cannot be read.

    Returns:
        By variant; empty if the metric cannot be resampled.
    """
    by_run = {}
    with missing.unless_done("intervals over images"):
        weights = draw_images(experiment.images["val"])
        for run in study.runs:
            if run.status == "finished" and (run.folder / VAL).is_file():
                values = experiment.resample(run, study.metric, weights)
                if values is None:
                    return {}
                by_run[run.variant, run.seed] = values
        intervals, base = {}, study.base.name
        for variant in study.variants[1:]:
            seeds = [s for s in study.seeds if (variant.name, s) in by_run and (base, s) in by_run]
            own, other = (
                np.reshape([by_run[name, seed] for seed in seeds], (len(seeds), len(weights)))
                for name in (variant.name, base)
            )
            intervals[variant.name] = image_interval(own, other, 1 - study.alpha)
        return intervals
    return {}


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Compute with as many threads as the runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
