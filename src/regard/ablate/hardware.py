"""The hardware of all runs of a study, determined once when the study begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from regard.config import TrainSettings, checked
from regard.errors import RegardError
from regard.system.device import choose_device
from regard.training.precision import Precision, resolve


@dataclass(frozen=True)
class Hardware:
    """What "auto" means in a study; determined once, so that the runs of a pair do not differ.

    Attributes:
        device: "cpu", "cuda" or "mps".
        precision: "32", "bf16" or "fp16".
        workers: number of data-loading processes of each run.
    """

    device: str
    precision: Precision
    workers: int


def hardware_here(train: Mapping[str, Any]) -> Hardware:
    """Resolve the training settings that depend on this machine.

    Args:
        train: the settings that a plan gives; the others have their defaults.

    Raises:
        RegardError: the device that they name is not here.
    """
    settings = checked(TrainSettings, dict(train))
    device = choose_device(settings.device).type
    # Parallel runs fill the cores already, unless a GPU waits for the data.
    workers = settings.workers if "workers" in train or device == "cuda" else 0
    return Hardware(device, resolve(settings.precision, device), workers)


def device_here(device: str) -> str:
    """Choose ``device`` if this process has it, else the CPU."""
    try:
        return choose_device(device).type
    except RegardError:
        return "cpu"


def describe_device(asked: str) -> str:
    """Choose the device to use instead of ``asked`` on this machine, and report a difference."""
    here = device_here(asked)
    name = f"{here} ({torch.cuda.get_device_name()})" if here == "cuda" else here
    return name if asked in (here, "auto") else f"{name}, as the machine that measured has no {asked}"


def free_gpus(device: str) -> list[float]:
    """Free memory in MiB of every GPU that runs on ``device`` may use."""
    if device != "cuda" or not torch.cuda.is_available():
        return []
    return [torch.cuda.mem_get_info(i)[0] / 2**20 for i in range(torch.cuda.device_count())]
