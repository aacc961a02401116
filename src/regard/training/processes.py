"""The processes of a run: one, several that are spawned, or those that a launcher such as torchrun has started."""

from __future__ import annotations

import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric

from regard.config import TrainSettings
from regard.errors import RegardError
from regard.graph.user_modules import import_file, user_files
from regard.system.device import choose_device
from regard.training.precision import FABRIC, resolve

R = TypeVar("R")


def launch(run: TrainSettings, work: Callable[..., R], **arguments: Any) -> R:
    """Call ``work(fabric, **arguments)`` in every process of a run; the result is that of the first.

    Args:
        run: device, number of processes and precision.
        work: a function of a module. Its result may be no dataclass, as Fabric looks into those.
        arguments: are sent to the processes; among them ``callbacks``.

    Raises:
        RegardError: a callback of the user cannot be sent to another process.
    """
    fabric = _fabric(run)
    # A partial, as Fabric looks into plain arguments for modules and stumbles over frozen dataclasses.
    task = partial(_work, surroundings=_Surroundings(), work=work, arguments=arguments)
    if run.devices > 1 and not _launched_from_outside():
        for callback in arguments["callbacks"]:
            _check_can_be_sent(callback)
        result: R = fabric.launch(task)
        return result
    with _quiet_fabric():
        fabric.launch()
    return work(fabric, **arguments)


def _work(
    fabric: Fabric,
    *,
    surroundings: _Surroundings,  # noqa: ARG001 - unpickled before what follows
    work: Callable[..., R],
    arguments: dict[str, Any],
) -> R:
    result = work(fabric, **arguments)
    fabric.barrier()
    # A process that ends while threads of the process group still run may abort instead of exiting.
    torch.distributed.destroy_process_group()
    return result


class _Surroundings:
    """What a spawned process needs before anything else is unpickled: the users' files, and where messages go."""

    def __reduce__(self) -> tuple[Callable[..., _Surroundings], tuple[Any, ...]]:
        logger = logging.getLogger("regard")
        handlers = [handler for handler in logger.handlers if _pickling_error(handler) is None]
        return _surround, (user_files(), logger.level, handlers)


def _surround(files: list[Path], level: int, handlers: list[logging.Handler]) -> _Surroundings:
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # this process is ours alone
    logger = logging.getLogger("regard")
    logger.setLevel(level)
    for handler in handlers:
        logger.addHandler(handler)
    for file in files:
        import_file(file)
    return _Surroundings()


def _pickling_error(value: object) -> Exception | None:
    try:
        pickle.dumps(value)
    except Exception as error:  # any exception that the user's class causes in pickle
        return error
    return None


def _check_can_be_sent(callback: object) -> None:
    if (error := _pickling_error(callback)) is not None:
        raise RegardError(
            f"the callback {type(callback).__name__} cannot be sent to another process: {error}",
            expected="a class that is defined in a file, whose attributes can be pickled",
            hint="or train in one process, with devices=1",
        )


def _fabric(settings: TrainSettings) -> Fabric:
    device = choose_device(settings.device)
    precision = FABRIC[resolve(settings.precision, device.type)]
    devices: Any = settings.devices if device.index is None or settings.devices > 1 else [device.index]
    strategy = "auto" if settings.devices == 1 else "ddp" if _launched_from_outside() else "ddp_spawn"
    with _quiet_fabric():
        return Fabric(accelerator=device.type, devices=devices, strategy=strategy, precision=precision)


@contextmanager
def _quiet_fabric() -> Iterator[None]:
    """Let Fabric report warnings only, and of these not that there is a GPU besides the device that the user named."""
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="GPU available but not used")
        yield
    logger.setLevel(level)


def _launched_from_outside() -> bool:
    """Whether torchrun, or another launcher, has started one process for each device already."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ
