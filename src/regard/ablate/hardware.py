"""What this machine computes on, and what all runs of a study compute on and in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from regard.config import TrainSettings, checked
from regard.errors import RegardError
from regard.training.precision import Precision, resolve


@dataclass(frozen=True)
class Hardware:
    """What "auto" means to a study, settled when it begins, so that the runs of a pair never differ in it.

    Attributes:
        device: "cpu", "cuda" or "mps".
        precision: "32", "bf16" or "fp16".
        workers: processes that load data, beside each run.
    """

    device: str
    precision: Precision
    workers: int


def hardware_here(train: Mapping[str, Any]) -> Hardware:
    """Return what settings of a training mean on this machine.

    Args:
        train: the settings that a plan gives; what it leaves out is the default.

    Raises:
        RegardError: the device that they name is not here.
    """
    settings = checked(TrainSettings, dict(train))
    if not has_device(settings.device):
        raise RegardError(f"device {settings.device!r} is asked for, and there is none here", hint="use device=cpu")
    device = device_here(settings.device)
    # Runs beside each other fill the cores already, unless it is a GPU that waits for the data.
    workers = settings.workers if "workers" in train or device == "cuda" else 0
    return Hardware(device, resolve(settings.precision, device), workers)


def has_device(device: str) -> bool:
    """Whether this process can compute on ``device``: auto, cpu, cuda or mps."""
    if device == "cuda":
        return torch.cuda.is_available()
    return torch.backends.mps.is_available() if device == "mps" else True


def device_here(device: str) -> str:
    """Return ``device`` where this process has it, else the processor; "auto" as training takes it."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device if has_device(device) else "cpu"


def describe_device(asked: str) -> str:
    """Return in words what stands in for a device here: its name, and that it is another where it is."""
    here = device_here(asked)
    name = f"{here} ({torch.cuda.get_device_name()})" if here == "cuda" else here
    return name if asked in (here, "auto") else f"{name}, as the machine that measured has no {asked}"
