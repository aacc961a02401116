"""The command line: each command parses its options, calls one function and prints the result."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from regard.cli import attend, catalogue, compare, data, diagnosis, model, paper, publish, studio, training, use
from regard.cli.commands import Command, Group, translated_errors
from regard.errors import RegardError


class _Commands(Group):
    """The commands; `ablate`, whose many settings take a while to build, is imported only where it is shown or run."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        with translated_errors():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with translated_errors():
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(dict.fromkeys([*super().list_commands(ctx), "ablate"]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands and "ablate" not in self.commands:
            from regard.cli import ablation

            experiments = typer.Typer()
            experiments.add_typer(ablation.app, name="ablate", cls=Group, rich_help_panel="Experiments")
            group = typer.main.get_command(experiments)
            assert isinstance(group, TyperGroup)
            self.add_command(group.commands["ablate"])
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    name="regard",
    cls=_Commands,
    help="Add attention anywhere in a YOLO detector by name, keep its weights, and measure whether it helps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(cls=Group, help="Check and convert data sets.", no_args_is_help=True)

app.command(cls=Command, rich_help_panel="Model")(model.summary)
app.command(cls=Command, rich_help_panel="Model")(model.lint)
app.command(cls=Command, rich_help_panel="Model")(model.cost)
app.command(cls=Command, rich_help_panel="Model")(compare.diff)
app.command(cls=Command, rich_help_panel="Model")(catalogue.catalogue)
app.command(cls=Command, rich_help_panel="Model")(model.insert)
app.command(cls=Command, rich_help_panel="Model")(model.replace)
app.command(cls=Command, rich_help_panel="Model")(model.remove)
app.command(cls=Command, rich_help_panel="Model")(model.convert)
app.command(cls=Command, rich_help_panel="Model")(studio.studio)
app.command(cls=Command, rich_help_panel="Data and training")(training.train)
app.command(cls=Command, rich_help_panel="Data and training")(use.val)
app.command("validate", cls=Command, hidden=True)(use.val)
app.command(cls=Command, rich_help_panel="Data and training")(use.predict)
app.command(cls=Command, rich_help_panel="Data and training")(use.export)
app.command(cls=Command, rich_help_panel="Data and training")(attend.attend)
app.command(cls=Command, rich_help_panel="Data and training")(diagnosis.doctor)
app.command(cls=Command, rich_help_panel="Data and training")(publish.push)
data_app.command(cls=Command)(data.check)
data_app.command(cls=Command)(data.convert)
app.command(cls=Command, rich_help_panel="Data and training")(training.demo)
app.command(cls=Command, rich_help_panel="Experiments")(paper.paper)
app.add_typer(data_app, name="data", rich_help_panel="Data and training")


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="With --version: print what a bug report needs, such as packages and devices."),
    ] = False,
) -> None:
    """Add attention anywhere in a YOLO detector by name, keep its weights, and measure whether it helps."""
    if version:
        from regard import __version__
        from regard.cli.versions import version_report

        print(version_report() if verbose else __version__)
        raise typer.Exit
    if verbose:
        raise RegardError("--verbose has no effect here", expected="regard --version --verbose")
