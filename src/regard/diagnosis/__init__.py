"""Why AP is low, zero, or lower than before: the causes that a run folder shows, each with its evidence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from regard.data.dataset import NoLabelsError
from regard.data.synthetic import PREFIX
from regard.diagnosis.case import Case
from regard.diagnosis.causes import CAUSES, COMPARISONS
from regard.diagnosis.findings import ORDER, Diagnosis, Finding, NotChecked
from regard.diagnosis.packages import read_run
from regard.diagnosis.record import TrainingRecord, described_torn
from regard.errors import RegardError
from regard.graph.read import GRAPHS, read_spec, zoo
from regard.system.files import is_there
from regard.system.interrupts import interrupts_deferred
from regard.weights.detector import Modules
from regard.weights.paths import missing_file, weights_of

__all__ = ["CAUSES", "Diagnosis", "Finding", "doctor"]


@interrupts_deferred()
def doctor(
    path: str | Path,
    *,
    against: str | Path | None = None,
    data: str | Path | None = None,
    weights: str | Path | None = None,
    modules: Modules | None = None,
    quick: bool = False,
) -> Diagnosis:
    """Look for causes of a low AP in the folder of a training run of this package, of YOLOv5 or of Ultralytics.

    The folder, its data set and its weights are only read. What cannot be checked is listed with the reason.

    Args:
        path: folder of the run.
        against: folder of a second run, whose AP is higher.
        data: the data set, if it is not where the run states.
        weights: the weights that training started from, if they are not where the run states.
        modules: your own layers that the models need.
        quick: do not open the images of the data set, which takes longest.

    Returns:
        The causes that were found, the likeliest first, and those that were checked or could not be.

    Raises:
        RegardError: there is no run in the folder, a file of it is damaged, or a file that is named is not there.

    Example:
        >>> model, data = regard.load("odd-one-out"), "synthetic:context?train=8&val=4&test=0"
        >>> run = regard.train(model, data, epochs=1, imgsz=64, workers=0, plots=False, verbose=False)
        >>> diagnosis = regard.doctor(run.folder)
        >>> diagnosis.package, "wiring" in diagnosis.checked
        ('regard', True)
    """
    run = read_run(Path(path))
    _reject_missing(data, weights)
    case = Case(
        run,
        data=None if data is None else str(data),
        start=None if weights is None else str(weights),
        modules=modules,
        images=not quick,
        against=None if against is None else read_run(Path(against)),
    )
    _reject_unreadable(case, data=data is not None, weights=weights is not None)
    asked = [name for name in CAUSES if against is not None or name not in COMPARISONS]
    return _diagnosis(case, asked)


def _diagnosis(case: Case, asked: Sequence[str]) -> Diagnosis:
    findings, skipped = _examined(case, asked)
    (data, data_note), (start, start_note) = case.data_read, case.start_read
    return Diagnosis(
        folder=str(case.run.folder),
        package=case.run.package,
        result=_result(case),
        findings=findings,
        checked=tuple(name for name in asked if name not in skipped),
        skipped={name: str(reason) for name, reason in skipped.items()},
        remedies=tuple(dict.fromkeys(reason.remedy for reason in skipped.values() if reason.remedy)),
        data=data,
        data_note=data_note,
        start=start,
        start_note=start_note,
    )


def _reject_missing(data: str | Path | None, weights: str | Path | None) -> None:
    """Check that what the user names is there, and that a YAML file of them is a graph."""
    if data is not None and not str(data).startswith(PREFIX) and not is_there(os.path.expanduser(data)):
        raise RegardError("no such file or folder", file=data, expected="the data set of the run")
    if weights is None or str(weights) in zoo():
        return
    if not is_there(weights):
        raise missing_file(Path(weights))
    if Path(weights).suffix.lower() in GRAPHS:
        read_spec(weights)
    if weights_of(weights) is None and Path(weights).suffix.lower() not in GRAPHS:
        raise RegardError("these are no weights", file=weights, expected="the weights that training started from")


def _reject_unreadable(case: Case, *, data: bool, weights: bool) -> None:
    """Check that the data set and the starting weights can be read, where the user names them."""
    try:
        if data:
            _ = case.dataset
        if weights and not case.starts_fresh:
            _ = case.start
    except NotChecked as reason:
        error = reason.__cause__
        if isinstance(error, RegardError) and not isinstance(error, NoLabelsError):  # which is a finding
            raise error from None


def _examined(case: Case, names: Sequence[str]) -> tuple[tuple[Finding, ...], dict[str, NotChecked]]:
    """What was found, the gravest first, and why some causes could not be checked."""
    findings: list[Finding] = []
    skipped: dict[str, NotChecked] = {}
    for name in names:
        try:
            found = CAUSES[name](case)
        except NotChecked as reason:
            skipped[name] = reason
        else:
            findings += [] if found is None else [found]
    return tuple(sorted(findings, key=lambda finding: ORDER.index(finding.weight))), skipped


def _result(case: Case) -> str:
    result = _best(case.run)
    try:
        other = case.against.best
    except NotChecked:
        return result
    return result + ("" if other is None else f"; best AP {other[1]:.3f} in {case.against.folder}")


def _best(run: TrainingRecord) -> str:
    torn = described_torn(run)
    if run.unmeasured and not run.rows:
        return "number of epochs and AP unknown"
    if run.best is None:
        return f"{run.finished} of {run.epochs} epochs, AP unknown" + torn
    epoch, ap = run.best
    ap50 = next((value for at, value in run.values("ap50") if at == epoch), None)
    if ap50 is None:
        return f"{run.finished} of {run.epochs} epochs, best AP {ap:.3f} in epoch {epoch}" + torn
    return f"{run.finished} of {run.epochs} epochs, best AP {ap:.3f} (AP50 {ap50:.3f}) in epoch {epoch}" + torn
