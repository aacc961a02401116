"""The commands `ablate` and `ablate status`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from regard.ablate.plan import Plan, parse_seeds
from regard.cli.commands import Command
from regard.cli.from_settings import Given, with_settings
from regard.cli.options import options_of
from regard.cli.screen import show
from regard.errors import RegardError
from regard.system.translation import translate

if TYPE_CHECKING:
    from regard.ablate.executors import Executor

Output = Annotated[Path, typer.Option("--output", "-o", help="The study's folder.")]
Processes = Annotated[
    int | None, typer.Option(min=1, help="Number of parallel runs; as many as memory and cores allow if not given.")
]
TrustPlan = Annotated[
    bool, typer.Option("--trust-plan", help="Import the modules that the file of --plan names: they are programs.")
]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Try failed runs again, before test is measured.")]
Resource = Annotated[
    list[str] | None,
    typer.Option(help="With --ray: another resource per run, as a100=0.5. May be given several times."),
]
Placement = Annotated[
    Literal["spread", "pack"],
    typer.Option(help="With --ray: spread the runs over the nodes, or fill one node first."),
]

app = typer.Typer(invoke_without_command=True, subcommand_metavar="[status FOLDER]")


@app.callback()
@with_settings(
    plan=Plan, parsers={"seeds": parse_seeds, "train": lambda values: options_of(values, "--train", "precision=bf16")}
)
def ablate(
    context: typer.Context,
    *,
    file: Annotated[
        Path | None, typer.Option("--plan", help="YAML file with any of the options below.", show_default=False)
    ] = None,
    trust_plan: TrustPlan = False,
    plan: Given,
    output: Output = Path("runs/ablate"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what the study would need and detect.")
    ] = False,
    processes: Processes = None,
    retry_failed: Retry = False,
    ray: Annotated[str | None, typer.Option(help="Run on a Ray cluster: auto, or HOST:PORT.")] = None,
    cpus: Annotated[int, typer.Option(min=1, help="With --ray: cores per run.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="With --ray: GPUs per run; 0.25 lets four share one.")] = 0.0,
    resource: Resource = None,
    placement: Placement = "spread",
) -> None:
    """Find out whether a change improves a model: paired seeds, equal budgets, capacity controls, a verdict.

    The same command continues an interrupted study.
    """
    if context.invoked_subcommand is not None:
        return
    from regard.ablate import power_analysis
    from regard.ablate.format import epochs_of, print_verdict, study_table
    from regard.ablate.plan import make_plan, read_plan
    from regard.ablate.study import run_study
    from regard.system.terminal import plain_console

    chosen = read_plan(file, plan, trust=trust_plan) if file else make_plan(plan)
    console = plain_console()
    if dry_run:
        power_analysis.dry_run(chosen, console, processes=processes)
        if ray:
            show(translate(f"all of this was measured on this machine, not on the cluster at {ray}"))
        return
    study = run_study(
        chosen,
        output,
        executor=_cluster(ray, cpus, gpus, resource, placement) if ray else None,
        threads=cpus if ray else None,
        processes=processes,
        retry_failed=retry_failed,
        console=console,
    )
    show(study_table(study, epochs_of(output)))
    print_verdict(study, console)


@app.command(cls=Command)
def status(
    folder: Annotated[Path, typer.Argument(help="The study's folder.")],
    format: Annotated[Literal["text", "json"], typer.Option(help="Output format.")] = "text",
) -> None:
    """Print the progress of a study."""
    import json

    from regard.ablate.folder import read_study
    from regard.ablate.format import epochs_of, metric_so_far, print_lines, study_table
    from regard.system.terminal import plain_console

    study, epochs = read_study(folder), epochs_of(folder)
    if format == "text":
        console = plain_console()
        show(study_table(study, epochs))
        print_lines(console, [f"{run.variant}, seed {run.seed}: {run.error}" for run in study.runs if run.error])
        return
    runs = [
        {
            "variant": run.variant,
            "seed": run.seed,
            "status": run.status,
            "epoch": len(run.curve),
            "epochs": epochs[run.variant],
            study.metric: metric_so_far(run, study.metric),
            "error": run.error,
        }
        for run in study.runs
    ]
    print(json.dumps({"question": study.question, "runs": runs}, indent=2, allow_nan=False))


def _cluster(
    address: str, cpus: int, gpus: float, resources: Sequence[str] | None, placement: Literal["spread", "pack"]
) -> Executor:
    from regard.ablate.executors import RayExecutor, RunResources

    asked = {}
    for name, amount in options_of(resources, "--resource", "a100=0.5").items():
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < math.inf:
            raise RegardError(f"--resource {name}={amount}", expected="a number, as in --resource a100=0.5")
        asked[name] = float(amount)
    return RayExecutor(address, RunResources(cpus, gpus, asked, placement))
