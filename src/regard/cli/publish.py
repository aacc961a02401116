"""The command push: publishing a detector on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from regard.cli.options import Model, Module, modules_of


def push(
    model: Model,
    repository: Annotated[str, typer.Argument(help="Repository on the Hub, as owner/name.")],
    license: Annotated[str, typer.Option(help="Licence of the model, such as apache-2.0 or agpl-3.0.")],
    start: Annotated[
        str | None,
        typer.Option(help="Weights that the training started from, such as yolov5n.pt.", show_default=False),
    ] = None,
    start_license: Annotated[str | None, typer.Option(help="Licence of these weights.", show_default=False)] = None,
    permission: Annotated[
        bool,
        typer.Option("--permission", help="State that the owner of these weights permits the licence of the model."),
    ] = False,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="There were no such weights.")] = False,
    study: Annotated[
        Path | None, typer.Option(help="Folder of the ablation study behind the model.", show_default=False)
    ] = None,
    module: Module = None,
    message: Annotated[str | None, typer.Option(help="Message of the commit.", show_default=False)] = None,
    private: Annotated[bool, typer.Option(help="Create a repository that only you can see.")] = True,
) -> None:
    """Upload a model and its card to the Hugging Face Hub."""
    from regard.publish import push_to_hub

    licences: dict[str, Any] = {"license": license, "start": start, "start_license": start_license}
    licences |= {"permission": permission, "from_scratch": from_scratch}
    licences |= {"modules": modules_of(module), "message": message}
    print(push_to_hub(model, repository, **licences, study=study, private=private))
