"""The commands that ask whether it pays: ablate, ablate status."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from regard.cli.options import Module, options_of
from regard.errors import RegardError

if TYPE_CHECKING:
    from regard.ablate.execute import Executor
    from regard.ablate.record import RunRecord

app = typer.Typer(invoke_without_command=True, subcommand_metavar="[status FOLDER]")


def _several(text: str) -> Any:
    return typer.Option(help=f"{text} May be given several times.", show_default=False)


@app.callback()
def ablate(
    context: typer.Context,
    plan: Annotated[
        Path | None, typer.Option(help="A YAML file with any of the names below.", show_default=False)
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="The model that all are compared with: yolov5n, ...", show_default=False)
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Fill the base from this file.", show_default=False)] = None,
    data: Annotated[
        str | None, typer.Option(help="The data set: see `regard data check --help`.", show_default=False)
    ] = None,
    insert: Annotated[list[str] | None, _several("A variant: SE@sppf, SE(ratio=8)@sppf, SE@p4+ECA@p5.")] = None,
    replace: Annotated[list[str] | None, _several("A variant with a layer replaced: C3TR@p5.")] = None,
    model: Annotated[list[str] | None, _several("A variant that is another model: overlay, YAML, weights.")] = None,
    gate: Annotated[
        bool | None, typer.Option("--gate/--no-gate", help="Insert behind closed gates; the default.")
    ] = None,
    control: Annotated[
        Literal["each", "largest", "none"] | None,
        typer.Option(help="Capacity controls: for each insertion (the default), for the largest only, or none."),
    ] = None,
    match: Annotated[
        Literal["parameters", "flops"] | None, typer.Option(help="What of a control equals the variant's.")
    ] = None,
    noise: Annotated[
        bool | None, typer.Option("--noise", help="Train the base again on another order, to see mere chance.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="How many, or which: 5 (the default), or 3,7,11.", show_default=False)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Budget of a run: epochs (100).", show_default=False)] = None,
    minutes: Annotated[float | None, typer.Option(help="Or minutes of training.", show_default=False)] = None,
    images: Annotated[int | None, typer.Option(help="Or training images seen.", show_default=False)] = None,
    imgsz: Annotated[int | None, typer.Option("--imgsz", "--img", help="Input size (640).", show_default=False)] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step (16).", show_default=False)] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", "--hyp", help="default, yolov5, or a YOLOv5 hyp.yaml.", show_default=False),
    ] = None,
    train: Annotated[
        list[str] | None, _several("Another setting of the training, as precision=bf16 or cache=ram.")
    ] = None,
    epoch: Annotated[
        Literal["last", "best"] | None, typer.Option(help="Whose weights are measured: last (the default) or best.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="What decides (ap).", show_default=False)] = None,
    alpha: Annotated[float | None, typer.Option(help="Level of the tests (0.05).", show_default=False)] = None,
    mde: Annotated[
        float | None, typer.Option(help="Smallest difference that matters (0.01).", show_default=False)
    ] = None,
    question: Annotated[str | None, typer.Option(help="What is asked, in words.", show_default=False)] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The study's folder.")] = Path("runs/ablate"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would take and could see.")] = False,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time; as many as memory and cores allow by default.", show_default=False),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try failed runs again, before test is looked at.")
    ] = False,
    ray: Annotated[
        str | None, typer.Option(help="Run on a Ray cluster: auto, or HOST:PORT.", show_default=False)
    ] = None,
    cpus: Annotated[int, typer.Option(min=1, help="With --ray: cores of a run.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="With --ray: GPUs of a run; 0.25 lets four share one.")] = 0.0,
    resource: Annotated[list[str] | None, _several("With --ray: another resource of a run, as a100=0.5.")] = None,
    placement: Annotated[
        Literal["spread", "pack"], typer.Option(help="With --ray: over the nodes, or filling one first.")
    ] = "spread",
    module: Module = None,
) -> None:
    """Settle whether a change of a model pays: paired seeds, equal budgets, capacity controls, a verdict.

    The same command continues a study that was interrupted.
    """
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console

    from regard.ablate.outlook import dry_run as look_ahead
    from regard.ablate.plan import make_plan, read_plan
    from regard.ablate.study import run_study
    from regard.ablate.table import epochs_of, study_table
    from regard.ablate.tell import print_verdict

    given: dict[str, Any] = {
        "base": base, "weights": weights, "data": data, "insert": insert, "replace": replace, "model": model,
        "gate": gate, "control": control, "match": match, "noise": noise, "seeds": _seeds(seeds), "epochs": epochs,
        "minutes": minutes, "images": images, "imgsz": imgsz, "batch": batch, "recipe": recipe,
        "train": options_of(train, "--train", "precision=bf16") if train else None, "epoch": epoch, "metric": metric,
        "alpha": alpha, "mde": mde, "question": question, "module": module,
    }  # fmt: skip
    chosen = read_plan(plan, given) if plan else make_plan(given)
    console = Console()
    if dry_run:
        console.print(look_ahead(chosen, processes=processes), highlight=False)
        if ray:
            console.print(f"all of this was measured on this machine; the cluster at {ray} was not asked", markup=False)
        return
    executor = _cluster(ray, cpus, gpus, resource, placement) if ray else None
    study = run_study(
        chosen,
        output,
        executor=executor,
        threads=cpus if ray else None,
        processes=processes,
        retry_failed=retry_failed,
        console=console,
    )
    console.print(study_table(study, epochs_of(output)))
    print_verdict(study, console)


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(help="The study's folder.")],
    format: Annotated[Literal["text", "json"], typer.Option(help="How to print it.")] = "text",
) -> None:
    """Print how far a study has come."""
    import json

    from rich.console import Console

    from regard.ablate.folder import read_study
    from regard.ablate.table import epochs_of, study_table

    study = read_study(folder)
    if format == "text":
        console = Console()
        console.print(study_table(study, epochs_of(folder)))
        for run in study.runs:
            if run.error:
                console.print(f"{run.variant}, seed {run.seed}: {run.error}", markup=False, highlight=False)
        return
    epochs = epochs_of(folder)
    runs = [
        {
            "variant": run.variant,
            "seed": run.seed,
            "status": run.status,
            "epoch": len(run.curve),
            "epochs": epochs[run.variant],
            study.metric: _metric_so_far(run, study.metric),
            "error": run.error,
        }
        for run in study.runs
    ]
    print(json.dumps({"question": study.question, "runs": runs}, indent=2, allow_nan=False))


def _metric_so_far(run: RunRecord, metric: str) -> float | None:
    """Return the metric of a finished run, else that of its last look at val; None where it is not a number."""
    seen = [row.get(f"val/{metric}", math.nan) for row in run.curve]
    values = [run.metrics.get(metric, math.nan)] if run.metrics else [value for value in seen if math.isfinite(value)]
    return values[-1] if values and math.isfinite(values[-1]) else None


def _seeds(text: str | None) -> int | list[int] | None:
    """Read ``5`` as a number of seeds, ``3,7`` as two of them.

    Raises:
        RegardError: neither.
    """
    if text is None:
        return None
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isdigit() for part in parts):
        raise RegardError(f"--seeds {text!r}", expected="how many, as 5, or which, as 3,7,11")
    return int(parts[0]) if "," not in text and len(parts) == 1 else [int(part) for part in parts]


def _cluster(
    address: str, cpus: int, gpus: float, resources: Sequence[str] | None, placement: Literal["spread", "pack"]
) -> Executor:
    from regard.ablate.cluster import LetterboxTransform, RayExecutor

    asked = {}
    for name, amount in options_of(resources, "--resource", "a100=0.5").items():
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < math.inf:
            raise RegardError(f"--resource {name}={amount}", expected="a number, as in --resource a100=0.5")
        asked[name] = float(amount)
    return RayExecutor(address, LetterboxTransform(cpus=cpus, gpus=gpus, resources=asked, strategy=placement))
