"""A study from beginning to end: planned, run, decided on val, measured once on test, told.

Nothing is kept in memory that continuing needs: the same call on the same folder goes on where the last one ended,
however that ended, and repeats no finished run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.live import Live

from regard.ablate.begin import begin_study, entries_of, prepare_runs, reopen_study, shared_threads
from regard.ablate.conclude import conclude
from regard.ablate.execute import Executor, LocalExecutor, local_slots
from regard.ablate.folder import (
    FAILURE,
    RESULT,
    Document,
    StudyFolder,
    is_over,
    numbers,
    read_json,
)
from regard.ablate.hardware import hardware_here, has_device
from regard.ablate.plan import Plan
from regard.ablate.record import StudyRecord
from regard.ablate.table import LiveStudy
from regard.ablate.variants import Lineup
from regard.ablate.words import metric_name
from regard.errors import RegardError

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
    """Run a study, or what is left of it, and write its report, ``report.html`` in its folder.

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
        hardware = executor.hardware(plan.train) if executor else hardware_here(plan.train)
        if study.exists:
            document = reopen_study(study, lineup, hardware)
        else:
            threads = threads or shared_threads(plan, processes)
            measure = executor is None and processes is None
            document = begin_study(study, lineup, threads, hardware, console, measure=measure)
        prepare_runs(study, document, lineup, entries_of(document, lineup), retry_failed=retry_failed)
        executor = executor or LocalExecutor(_slots(document, processes))
        _execute(study, document, executor, console)
        return conclude(study, lineup, console)


def _slots(document: Document, processes: int | None) -> list[dict[str, str]]:
    peak, device = (document["probe"] or {}).get("peak_mib", 0.0), document["provenance"]["hardware"]["device"]
    if not has_device(device):
        raise RegardError(f"this study began on {device}, and there is none here", hint="go on with it where it began")
    return local_slots(peak, document["threads"], processes, free_gpus(device))


def free_gpus(device: str) -> list[float]:
    """Return the free memory of every GPU that runs on ``device`` may use, in MiB."""
    if device != "cuda" or not torch.cuda.is_available():
        return []
    return [torch.cuda.mem_get_info(i)[0] / 2**20 for i in range(torch.cuda.device_count())]


def _execute(study: StudyFolder, document: Document, executor: Executor, console: Console) -> None:
    """Bring every run to its end, showing how far they have come."""
    folders = [study.run(known["place"], seed) for seed in document["plan"]["seeds"] for known in document["variants"]]
    left = [folder for folder in folders if not is_over(folder)]
    if not left:
        return
    metric = document["plan"]["metric"]
    with _shown(study.path, console, metric) as say, closing(executor.run(left)) as ended:
        for folder in ended:
            say(folder)


@contextmanager
def _shown(folder: Path, console: Console, metric: str) -> Iterator[Callable[[Path], None]]:
    """Show a live table on a terminal, which vanishes in the end, and a line for each run that ends elsewhere."""
    if console.is_terminal:
        view = LiveStudy(folder)
        with Live(get_renderable=view.__rich__, console=console, refresh_per_second=VIEWS_A_SECOND, transient=True):
            yield lambda _: None
        return

    def say(run: Path) -> None:
        failure = read_json(run / FAILURE)["error"] if (run / FAILURE).is_file() else ""
        told = f"failed: {failure}" if failure else _measured(run, metric)
        console.print(f"{run.parent.name} {run.name}: {told}", markup=False, highlight=False, soft_wrap=True)

    yield say


def _measured(run: Path, metric: str) -> str:
    return f"{metric_name(metric)} {numbers(read_json(run / RESULT)['metrics'])[metric]:.3f}"
