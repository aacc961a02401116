"""The command line: each command parses its options, calls one function and prints the result."""

from __future__ import annotations

from typing import Annotated

import typer

from regard.cli import ablation, attend, model, training, use

app = typer.Typer(
    name="regard",
    help="Add attention anywhere in a YOLO detector by name, keep its weights, and measure whether it helps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Inspect data sets.", no_args_is_help=True)

app.command(rich_help_panel="Model")(model.summary)
app.command(rich_help_panel="Model")(model.cost)
app.command(rich_help_panel="Model")(model.insert)
app.command(rich_help_panel="Model")(model.replace)
app.command(rich_help_panel="Model")(model.remove)
app.command(rich_help_panel="Data and training")(training.train)
app.command(rich_help_panel="Data and training")(use.val)
app.command("validate", hidden=True)(use.val)
app.command(rich_help_panel="Data and training")(use.predict)
app.command(rich_help_panel="Data and training")(use.export)
app.command(rich_help_panel="Data and training")(attend.attend)
data_app.command()(training.check)
app.command(rich_help_panel="Data and training")(training.demo)
app.add_typer(ablation.app, name="ablate", rich_help_panel="Experiments")
app.add_typer(data_app, name="data", rich_help_panel="Data and training")


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Add attention anywhere in a YOLO detector by name, keep its weights, and measure whether it helps."""
    if version:
        from regard import __version__

        print(__version__)
        raise typer.Exit
