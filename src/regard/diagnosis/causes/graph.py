"""Causes in the graph of the detector: wiring, and gates that never opened."""

from __future__ import annotations

from regard.diagnosis.case import Case
from regard.diagnosis.findings import Finding, NotChecked
from regard.errors import RegardError
from regard.graph.build import check
from regard.graph.detector import Detector
from regard.training.loop import named_gates

CLOSED = 1e-3
"""Largest value of a gate whose layer changes nothing."""


def wiring(case: Case) -> Finding | None:
    """A layer that reads another one than its author intended."""
    detector = case.detector
    try:
        errors = [found for found in check(detector.spec, modules=detector.user_modules) if not found.note]
    except RegardError as error:
        raise NotChecked(f"the graph cannot be checked: {error.what}") from error
    if not errors:
        return None
    first, more = errors[0], f"; {len(errors) - 1} other rows are wrong" if len(errors) > 1 else ""
    advice = f"{first.corrected or 'see regard lint'}; train again"
    return Finding("wiring", "likely", first.what + more, advice)


def closed_gate(case: Case) -> Finding | None:
    """An inserted layer behind a gate that stayed closed."""
    gates = {name.removeprefix("gate/"): case.run.values(name) for name in _columns(case) if name.startswith("gate/")}
    values = {name: series[-1][1] for name, series in gates.items() if series} or _gates(case.detector)
    closed = {name: value for name, value in values.items() if abs(value) < CLOSED}
    if not closed:
        return None
    listed = ", ".join(f"{name} {value:+.1e}" for name, value in closed.items())
    evidence = f"at the end of the training the gate is still closed: {listed}"
    advice = "the layer changes nothing: train longer, raise gate_lr_factor, or insert it with --no-gate"
    return Finding("closed_gate", "possible", evidence, advice)


def _columns(case: Case) -> list[str]:
    return list(dict.fromkeys(name for row in case.run.rows for name in row))


def _gates(detector: Detector) -> dict[str, float]:
    return named_gates(detector)
