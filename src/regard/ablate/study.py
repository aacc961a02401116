"""A study from beginning to end: planned, run, decided on val, measured once on test, told.

Nothing is kept in memory that continuing needs: the same call on the same folder goes on where the last one ended,
however that ended, and repeats no finished run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.live import Live

from regard.ablate.execute import Executor, LocalExecutor, local_slots, usable_cores
from regard.ablate.findings import analyse
from regard.ablate.folder import (
    FAILURE,
    JOB,
    RESULT,
    Document,
    StudyFolder,
    is_over,
    places,
    read_json,
    read_study,
)
from regard.ablate.jobs import check_seeds, checksum, write_job
from regard.ablate.measure import detect_split, measure_costs, place_for
from regard.ablate.plan import Plan
from regard.ablate.probe import Probe, probe
from regard.ablate.record import RunRecord, StudyRecord
from regard.ablate.table import LiveStudy, epochs_of, study_table
from regard.ablate.variants import Entry, Lineup
from regard.config import describe
from regard.errors import RegardError
from regard.evaluate import score
from regard.evaluate.metrics import HEADLINE
from regard.training.folder import RunFolder, environment
from regard.training.run import describe_data
from regard.weights.detector import load_detector

VIEWS_A_SECOND = 1


def run_study(
    plan: Plan,
    folder: str | Path,
    *,
    executor: Executor | None = None,
    threads: int | None = None,
    processes: int | None = None,
    retry_failed: bool = False,
    console: Console | None = None,
) -> StudyRecord:
    """Run a study, or what is left of it, and write its report.

    Args:
        plan: what is compared; that of the folder, where it holds a study.
        folder: where everything is kept.
        executor: where runs are executed; this machine if None.
        threads: of each run, settled when a study begins; shared out over the cores if None.
        processes: how many runs at a time on this machine; as many as memory and cores allow if None.
        retry_failed: try failed runs again; not after anything was measured on test.
        console: where progress is shown; a live table where that is a terminal.

    Raises:
        RegardError: the plan, the data or a variant is wrong; the folder holds another study, or is in use.
    """
    study, console = StudyFolder(Path(folder)), console or Console()
    with study.locked():
        lineup = Lineup(plan)
        document = _reopened(study, lineup) if study.exists else _created(study, lineup, threads, processes, console)
        entries = _entries(document, lineup)
        _prepare_runs(study, document, lineup, entries, retry_failed=retry_failed)
        executor = executor or LocalExecutor(_slots(plan, document, processes))
        _execute(study, document, executor, console)
        check_effect(read_study(study.path))
        _decide(study)
        _measure_test(study, lineup, console)
        _measure_costs(study, lineup)
        record = read_study(study.path)
        _report(record, console)
    return record


def _created(
    study: StudyFolder, lineup: Lineup, threads: int | None, processes: int | None, console: Console
) -> Document:
    """Settle all that shall not change while a study goes on, and write it."""
    plan, entries = lineup.plan, lineup.entries()
    seeds = check_seeds(lineup)
    runs = len(entries) * len(plan.seeds)
    threads = threads or max(usable_cores() // min(processes or runs, runs, usable_cores()), 1)
    measured = None
    if plan.minutes or processes is None:
        console.print("measuring what a run takes ...", highlight=False)
        measured = probe(lineup, entries, threads)
    epochs = planned_epochs(lineup, entries, measured)
    names = places([entry.name for entry in entries])
    for entry in entries:
        graph = lineup.start(entry, plan.seeds[0]).spec.to_yaml()
        RunFolder(study.path / "models").write(f"{names[entry.name]}.yaml", graph)
    document = {
        "format": 1,
        "question": plan.question or f"Does it pay to change {plan.base} on {plan.data}?",
        "plan": describe(plan),
        "variants": [
            {
                "name": entry.name,
                "role": entry.role,
                "controls": entry.controls,
                "note": entry.note,
                "place": names[entry.name],
                "model": f"models/{names[entry.name]}.yaml",
                "epochs": epochs[entry.name],
            }
            for entry in entries
        ],
        "threads": threads,
        "probe": measured.describe() if measured else None,
        "provenance": {
            "environment": environment(),
            "commands": [],
            "data": {**describe_data(lineup.data), "sha256": checksum(lineup.data)},
            "seeds": seeds,
            "controls": lineup.notes(entries),
            "threads": threads,
        },
    }
    study.write(_commanded(document))
    return document


def planned_epochs(lineup: Lineup, entries: Sequence[Entry], measured: Probe | None) -> dict[str, int]:
    """Return the epochs of every variant by the plan's budget."""
    plan, images = lineup.plan, len(lineup.data.splits["train"])
    if plan.minutes:
        assert measured is not None
        known = measured.epochs_in(plan.minutes, images)
        return {entry.name: known.get(entry.name, min(known.values(), default=1)) for entry in entries}
    epochs = math.ceil(plan.images / images) if plan.images else plan.planned_epochs
    assert epochs is not None
    return {entry.name: epochs for entry in entries}


def _reopened(study: StudyFolder, lineup: Lineup) -> Document:
    """Return the study in the folder, after a look whether it is this one.

    Raises:
        RegardError: its plan or its data are others.
    """
    document = study.read()
    given = describe(lineup.plan)
    changed = [name for name in given if given[name] != document["plan"].get(name)]
    if changed:
        told = "; ".join(f"{name} was {document['plan'].get(name)!r} and is {given[name]!r}" for name in changed[:3])
        raise RegardError(
            f"another study is in this folder: {told}", file=study.path, hint="name another folder by --output"
        )
    if checksum(lineup.data) != document["provenance"]["data"]["sha256"]:
        raise RegardError("the data have changed since this study began", file=study.path)
    study.write(_commanded(document))
    return document


def _commanded(document: Document) -> Document:
    """Note the command that works on the study now."""
    here = environment()
    document["provenance"]["commands"].append({key: here[key] for key in ("started", "command")})
    return document


def _entries(document: Document, lineup: Lineup) -> dict[str, Entry]:
    """Return the variants by name, in the study's order."""
    entries = {entry.name: entry for entry in lineup.entries()}
    return {known["name"]: entries[known["name"]] for known in document["variants"]}


def _prepare_runs(
    study: StudyFolder, document: Document, lineup: Lineup, entries: dict[str, Entry], *, retry_failed: bool
) -> None:
    """Write the start and the job of every run that has none; seed by seed, as each has one base."""
    for seed in document["plan"]["seeds"]:
        for known in document["variants"]:
            folder = study.run(known["place"], seed)
            if retry_failed and (folder / FAILURE).is_file():
                if document.get("test"):
                    raise RegardError(
                        "test has been looked at, so no run can be tried again", hint="start a study in another folder"
                    )
                (folder / FAILURE).unlink()
            if not is_over(folder) and not (folder / JOB).is_file():
                write_job(folder, lineup, entries[known["name"]], seed, epochs=known["epochs"])


def _slots(plan: Plan, document: Document, processes: int | None) -> list[dict[str, str]]:
    peak = (document["probe"] or {}).get("peak_mib", 0.0)
    gpus: list[float] = []
    if torch.cuda.is_available() and plan.train.get("device", "auto") != "cpu":
        gpus = [torch.cuda.mem_get_info(i)[0] / 2**20 for i in range(torch.cuda.device_count())]
    return local_slots(peak, document["threads"], processes, gpus)


def _execute(study: StudyFolder, document: Document, executor: Executor, console: Console) -> None:
    """Bring every run to its end, showing how far they have come."""
    folders = [study.run(known["place"], seed) for seed in document["plan"]["seeds"] for known in document["variants"]]
    left = [folder for folder in folders if not is_over(folder)]
    if not left:
        return
    with _shown(study.path, console) as say, closing(executor.run(left)) as ended:
        for folder in ended:
            say(folder)
    if not console.is_terminal:
        console.print(study_table(read_study(study.path), epochs_of(study.path)))


@contextmanager
def _shown(folder: Path, console: Console) -> Iterator[Callable[[Path], None]]:
    """Show a live table on a terminal, and a line for each run that ends elsewhere."""
    if console.is_terminal:
        view = LiveStudy(folder)
        with Live(get_renderable=view.__rich__, console=console, refresh_per_second=VIEWS_A_SECOND):
            yield lambda _: None
        return

    def say(run: Path) -> None:
        failure = read_json(run / FAILURE)["error"] if (run / FAILURE).is_file() else ""
        told = f"failed: {failure}" if failure else f"AP {read_json(run / RESULT)['metrics']['ap'] or math.nan:.3f}"
        console.print(f"{run.parent.name} {run.name}: {told}", markup=False, highlight=False, soft_wrap=True)

    yield say


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


def _measure_test(study: StudyFolder, lineup: Lineup, console: Console) -> None:
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
        detector = _trained(run, lineup)
        detections = detect_split(detector, records, imgsz=plan.imgsz, batch=plan.batch)
        values = score(detections, records, lineup.data.names).to_dict()
        test.setdefault(run.variant, {})[str(run.seed)] = {name: values[name] for name in HEADLINE}
        study.write(document)


def _measure_costs(study: StudyFolder, lineup: Lineup) -> None:
    """Measure what each variant with a finished run costs, all in one run, once."""
    document, record = study.read(), read_study(study.path)
    first = {v.name: next(iter(record.finished(v.name).values()), None) for v in record.variants}
    trained = {name: run for name, run in first.items() if run}
    if not trained or trained.keys() == document.get("costs", {}).keys():
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(document["threads"])
    try:
        detectors = {name: _trained(run, lineup).eval() for name, run in trained.items()}
        costs = measure_costs(detectors, imgsz=lineup.plan.imgsz)
    finally:
        torch.set_num_threads(threads)
    document["costs"] = {name: vars(cost) for name, cost in costs.items()}
    study.write(document)


def _trained(run: RunRecord, lineup: Lineup) -> Any:
    """Return what a run came to, on the device of the study."""
    detector = load_detector(run.folder / f"{lineup.plan.epoch}.safetensors", modules=lineup.modules)
    return place_for(detector, str(lineup.plan.train.get("device", "auto")))


def _report(record: StudyRecord, console: Console) -> None:
    from regard.ablate.report import write_report

    console.print(f"report: {write_report(record, record.folder)}", highlight=False, soft_wrap=True)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
