"""The processes of a run: one, several that are spawned, or those that a launcher such as torchrun has started."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import pickle
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import active_children
from multiprocessing.process import current_process
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.launchers.multiprocessing import _GlobalStateSnapshot, _MultiProcessingLauncher
from torch.multiprocessing.spawn import ProcessException, start_processes

from regard.config import TrainSettings
from regard.errors import RegardError
from regard.graph.user_modules import import_file, user_files
from regard.system.device import choose_device
from regard.system.files import atomic_write, claim_folder, is_file
from regard.system.interrupts import interrupts_blocked, receive_interrupts
from regard.system.last_resort import INTERRUPTED
from regard.system.launcher import launched_processes, processes_of_machine
from regard.system.scratch import scratch_folder
from regard.system.terminal import in_notebook
from regard.training.precision import FABRIC, resolve

R = TypeVar("R")

SENT, RESULT, ERROR, STORE = "sent", "result", "error", "store"
"""Files by which spawned processes answer, and meet."""
END_SECONDS = 5
"""Time in which a process that is terminated has to end."""


def for_launcher(run: TrainSettings) -> TrainSettings:
    """Let a run use all processes that a launcher has started.

    Raises:
        RegardError: another number of processes was asked for, or several in a notebook, which cannot start them.
    """
    started = launched_processes()
    if not started:
        _reject_cell(run)
    if not started or run.devices == started:
        return run
    if "devices" in run.model_fields_set:
        what = f"the run has devices={run.devices}, but the launcher has started {started} processes"
        raise RegardError(what, expected=f"devices={started}", hint="or start it without a launcher")
    return run.model_copy(update={"devices": started})


def _reject_cell(run: TrainSettings) -> None:
    if run.devices > 1 and in_notebook():
        hint = f"run it as a command, in a cell too: !regard train MODEL --data DATA --devices {run.devices}"
        raise _cell_error(run.devices, hint)


def reject_cell_that_resumes(run: TrainSettings, folder: Path, data: str | Path | None) -> None:
    """Check that a run in ``folder`` can be continued from here, with ``data`` in a new place if it is not None.

    Raises:
        RegardError: it would take several processes, which a notebook cannot start.
    """
    if run.devices > 1 and in_notebook() and not launched_processes():
        given = {"resume": folder} if data is None else {"resume": folder, "data": data}
        named = " ".join(f'--{name} "{path}"' for name, path in given.items())
        hint = f"run it as a command, in a cell too: !regard train {named} --devices {run.devices}; or give devices=1"
        raise _cell_error(run.devices, hint)


def _cell_error(devices: int, hint: str) -> RegardError:
    what = f"devices={devices} starts processes that cannot be started from a cell"
    return RegardError(what, expected="devices=1 in a notebook", hint=hint)


@contextmanager
def claim_for_all(run: TrainSettings, given: str | Path | None, default: Path = Path("runs")) -> Iterator[Path]:
    """Claim a folder, as `claim_folder` does; of several launched processes the first claims it for all.

    Raises:
        RegardError: in every process, if the folder cannot be claimed.
    """
    if getattr(current_process(), "_inheriting", False):  # while a spawned process imports the script
        raise RegardError(
            "the script starts a training again in each process of the training",
            hint='put the call under `if __name__ == "__main__":`',
        )
    if launched_processes() < 2:
        with claim_folder(given, default) as path:
            yield path
        return
    fabric = _joined(for_launcher(run))
    with ExitStack() as held:
        answer: Path | RegardError | None = None
        if fabric.is_global_zero:
            try:
                answer = held.enter_context(claim_folder(given, default))
            except RegardError as error:
                answer = error
        answer = fabric.broadcast(answer)
        if isinstance(answer, RegardError):
            raise answer
        assert answer is not None
        yield answer


def launch(run: TrainSettings, work: Callable[..., R], **arguments: Any) -> R:
    """Call ``work(fabric, **arguments)`` in every process of a run; the result is that of the first.

    Args:
        run: device, number of processes and precision.
        work: a function of a module.
        arguments: are sent to the processes; among them ``callbacks``.

    Raises:
        RegardError: a callback of the user cannot be sent to another process, or this is a notebook.
    """
    if run.devices == 1 or launched_processes():
        return work(_joined(run), **arguments)
    _reject_cell(run)
    for callback in arguments["callbacks"]:
        _check_can_be_sent(callback)
    with scratch_folder(Path(tempfile.gettempdir())) as private:
        # By a file: tensors would be sent as memory that the processes share, so that they train the same weights, and
        # the pipe to a process that ends before it has read its arguments is never emptied.
        (private / SENT).write_bytes(pickle.dumps((work, arguments)))
        try:
            with _end_with_this():
                _fabric(run, _Here(private / STORE)).launch(
                    partial(_work, surroundings=_Surroundings(), folder=private)
                )
        except ProcessException as error:
            if getattr(error, "exit_code", None) == INTERRUPTED:
                raise KeyboardInterrupt from None
            if is_file(private / ERROR):
                raise _received(private / ERROR) from None
            if not is_file(private / RESULT):  # otherwise the process died after its work
                raise
        result: R = _received(private / RESULT)
        return result


@contextmanager
def _end_with_this() -> Iterator[None]:
    """After an exception, such as that of Ctrl-C, end the processes that were started: this one would wait for them."""
    before = set(active_children())
    try:
        yield
    except BaseException:
        started = set(active_children()) - before
        for process in started:
            process.terminate()
        for process in started:
            process.join(END_SECONDS)
            process.kill()
            process.join()
        raise


def _received(file: Path) -> Any:
    return pickle.loads(file.read_bytes())  # noqa: S301 - no other user can enter its folder


def _deliver(value: object, file: Path) -> None:
    with atomic_write(file) as place:
        pickle.dump(value, place)


def _joined(run: TrainSettings) -> Fabric:
    """Make the Fabric of this process, in a group with the others that a launcher has started."""
    fabric = _fabric(run)
    is_first_run = not torch.distributed.is_initialized()
    with _quiet_fabric():
        fabric.launch()
    if is_first_run and torch.distributed.is_initialized():
        atexit.register(_end_group)
    return fabric


def _end_group() -> None:
    """End the process group and its threads, which may abort a process that ends while they run."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    gc.collect()  # what refers to the group, such as DDP, is in cycles, and keeps its threads alive


def _work(
    fabric: Fabric,
    *,
    surroundings: _Surroundings,  # noqa: ARG001 - unpickled before what follows
    folder: Path,
) -> None:
    """Do the work in a spawned process and write its result, if this is the first process, or its error to ``folder``.

    Fabric's own way to return it is a pipe that is read only after the process has ended: one of more than 64 KiB would
    never be read.
    """
    try:
        receive_interrupts()
        work, arguments = _received(folder / SENT)
        result = work(fabric, **arguments)
    except RegardError as error:
        _deliver(error, folder / ERROR)
        raise
    except KeyboardInterrupt:  # which torch takes for the end of the work; Fabric would wait for its result
        sys.exit(INTERRUPTED)
    if fabric.is_global_zero:
        _deliver(result, folder / RESULT)
    fabric.barrier()
    _end_group()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Finalize(None, _leave, exitpriority=-1000)  # after all others


def _leave() -> None:
    """End a process after all that Python does at its end, except that it does not take the interpreter apart.

    Threads of libraries that still run would do so without an interpreter, by which the process may abort.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the interpreter does
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class _Surroundings:
    """What a spawned process needs before anything else is unpickled: the users' files, and where messages go."""

    def __reduce__(self) -> tuple[Callable[..., _Surroundings], tuple[Any, ...]]:
        logger = logging.getLogger("regard")
        handlers = [handler for handler in logger.handlers if _pickling_error(handler) is None]
        return _surround, (user_files(), logger.level, handlers)


def _surround(files: list[tuple[Path, tuple[str, ...]]], level: int, handlers: list[logging.Handler]) -> _Surroundings:
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # this process is ours alone
    logger = logging.getLogger("regard")
    logger.setLevel(level)
    for handler in handlers:
        logger.addHandler(handler)
    for file, names in files:
        import_file(file, names=names)
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


class _Launcher(_MultiProcessingLauncher):
    """Starts processes that receive Ctrl-C only when they work: see `interrupts_blocked`."""

    def launch(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """See `_MultiProcessingLauncher.launch`."""
        results = torch.multiprocessing.get_context("spawn").SimpleQueue()
        sent = (function, args, kwargs, results, _GlobalStateSnapshot.capture())
        assert isinstance(self._strategy, DDPStrategy)
        count = self._strategy.num_processes
        with interrupts_blocked():
            started = start_processes(self._wrapping_function, sent, count, join=False)  # type: ignore[no-untyped-call]
        while not started.join():
            pass


class _Here(DDPStrategy):
    """Spawned processes that meet by a file and through the loopback interface.

    With the address by which others meet, PyTorch asks the name server for the name of 127.0.0.1, and its backend for
    processors asks for the address of this machine's name.

    Args:
        store: the file, which does not exist.
    """

    def __init__(self, store: Path) -> None:
        super().__init__(start_method="spawn")
        self._store = store

    def _configure_launcher(self) -> None:
        self._launcher = _Launcher(self, "spawn")

    def _setup_distributed(self) -> None:
        self._set_world_ranks()
        loopback = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), None)
        if loopback is not None:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
        torch.distributed.init_process_group(
            self._get_process_group_backend(),
            store=torch.distributed.FileStore(str(self._store), self.num_processes),  # type: ignore[attr-defined]
            rank=self.global_rank,
            world_size=self.num_processes,
            device_id=self.root_device if self.root_device.type != "cpu" else None,
        )
        super()._setup_distributed()  # finds that the processes have met


def _fabric(settings: TrainSettings, spawned: DDPStrategy | None = None) -> Fabric:
    device = choose_device(settings.device)
    precision = FABRIC[resolve(settings.precision, device.type)]
    here = processes_of_machine() if launched_processes() else settings.devices
    devices: Any = here if device.index is None or settings.devices > 1 else [device.index]
    strategy = spawned or ("auto" if settings.devices == 1 else "ddp")
    with _quiet_fabric():
        return Fabric(
            accelerator=device.type,
            devices=devices,
            num_nodes=settings.devices // here,
            strategy=strategy,
            precision=precision,
        )


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
