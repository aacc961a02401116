"""Why AP is low, zero, or lower than before: the causes that a run folder shows, each with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regard.diagnosis.case import Case
from regard.diagnosis.causes import CAUSES, COMPARISONS
from regard.diagnosis.findings import ORDER, Diagnosis, Finding, NotChecked
from regard.diagnosis.packages import read_run
from regard.diagnosis.record import TrainingRecord
from regard.weights.detector import Modules

__all__ = ["CAUSES", "Diagnosis", "Finding", "doctor"]


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

    Raises:
        RegardError: there is no run in the folder, or a file of it is damaged.

    Example:
        >>> model, data = regard.load("odd-one-out"), "synthetic:context?train=8&val=4&test=0"
        >>> run = regard.train(model, data, epochs=1, imgsz=64, workers=0, plots=False, verbose=False)
        >>> diagnosis = regard.doctor(run.folder)
        >>> diagnosis.package, "wiring" in diagnosis.checked
        ('regard', True)
    """
    run = read_run(Path(path))
    case = Case(
        run,
        data=None if data is None else str(data),
        start=None if weights is None else str(weights),
        modules=modules,
        images=not quick,
        against=None if against is None else read_run(Path(against)),
    )
    asked = [name for name in CAUSES if against is not None or name not in COMPARISONS]
    findings, skipped = _examined(case, asked)
    checked = tuple(name for name in asked if name not in skipped)
    return Diagnosis(str(run.folder), run.package, _result(run), findings, checked, skipped)


def _examined(case: Case, names: Sequence[str]) -> tuple[tuple[Finding, ...], dict[str, str]]:
    """What was found, the gravest first, and why some causes could not be checked."""
    findings: list[Finding] = []
    skipped: dict[str, str] = {}
    for name in names:
        try:
            found = CAUSES[name](case)
        except NotChecked as reason:
            skipped[name] = str(reason)
        else:
            findings += [] if found is None else [found]
    return tuple(sorted(findings, key=lambda finding: ORDER.index(finding.weight))), skipped


def _result(run: TrainingRecord) -> str:
    torn = f"; line {run.torn} of the table was not written completely" if run.torn else ""
    if run.best is None:
        return f"{run.finished} of {run.epochs} epochs, AP unknown" + torn
    epoch, ap = run.best
    ap50 = next((value for at, value in run.values("ap50") if at == epoch), None)
    also = "" if ap50 is None else f" (AP50 {ap50:.3f})"
    return f"{run.finished} of {run.epochs} epochs, best AP {ap:.3f}{also} in epoch {epoch}" + torn
