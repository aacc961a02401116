"""What the runs of a study were trained on and with, as far as it is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regard.ablate.folder import RunRecord, StudyRecord
from regard.errors import RegardError
from regard.system.files import is_file
from regard.training.folder import read_config

PACKAGES = ("regard", "torch")
"""Packages whose version decides what a run computes."""


@dataclass(frozen=True)
class Machines:
    """Devices and versions of packages, each once.

    Attributes:
        devices: such as "cuda (NVIDIA H200); precision: bf16"; empty if unknown.
        versions: such as "regard 0.1.0, torch 2.9.0"; empty if unknown.
        is_of_runs: whether each finished run recorded them; otherwise they are what the study began with.
        mixed_pairs: pairs whose runs differ in them.
    """

    devices: tuple[str, ...]
    versions: tuple[str, ...]
    is_of_runs: bool
    mixed_pairs: int


def machines_of(study: StudyRecord) -> Machines:
    """Collect what the finished runs recorded; what the study recorded where one of them recorded nothing."""
    finished = [run for run in study.runs if run.status == "finished"]
    found = {(run.variant, run.seed): _of_run(run) for run in finished}
    if not found or not all(map(any, found.values())):
        return _of_study(study)
    base = study.base.name
    pairs = [(one, found.get((base, seed), one)) for (variant, seed), one in found.items() if variant != base]
    devices, versions = (tuple(dict.fromkeys(one[i] for one in found.values() if one[i])) for i in (0, 1))
    return Machines(devices, versions, True, sum(one != other for one, other in pairs))


def _of_run(run: RunRecord) -> tuple[str, str]:
    if not is_file(run.folder / "run.json"):
        return "", ""
    try:
        config = read_config(run.folder)
    except RegardError:  # damaged: what it says is unknown
        return "", ""
    environment, settings = _mapping(config.get("environment")), _mapping(config.get("settings"))
    device = str(settings.get("device") or "")
    chip = environment.get("gpu") if device == "cuda" else environment.get("processor") if device == "cpu" else None
    return _device(device, chip, settings.get("precision")), _versions(environment)


def _of_study(study: StudyRecord) -> Machines:
    """What was determined for all runs when the study began, and the versions of that time."""
    hardware = _mapping(study.provenance.get("hardware")) if study.plan.get("base") else {}
    device = _device(str(hardware.get("device") or ""), None, hardware.get("precision"))
    versions = _versions(_mapping(study.provenance.get("environment"))) or _versions(study.provenance)
    return Machines((device,) if device else (), (versions,) if versions else (), False, 0)


def _device(name: str, chip: Any, precision: Any) -> str:
    if not name:
        return ""
    return f"{name}{f' ({chip})' if chip else ''}{f'; precision: {precision}' if precision else ''}"


def _versions(environment: Mapping[str, Any]) -> str:
    packages = _mapping(environment.get("packages"))
    return ", ".join(f"{name} {packages[name]}" for name in PACKAGES if name in packages)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
