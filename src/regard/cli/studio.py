"""The command that serves the studio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import Module, modules_of
from regard.studio import needs


def studio(
    model: Annotated[
        str | None,
        typer.Argument(help="Model to open: see `regard summary --help`. Another one can be opened on the page."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Data set for trainings: see `regard data check --help`.", show_default=False)
    ] = None,
    workspace: Annotated[
        Path, typer.Option(help="Folder whose files the page can open, and into which it saves; no others.")
    ] = Path(),
    port: Annotated[int, typer.Option(help="Port; 0 for a free one.", min=0, max=65535)] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow a --host that other machines can reach.")
    ] = False,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    module: Module = None,
) -> None:
    """Serve a page on this machine to see a detector, insert attention by clicking, and inspect it in images."""
    try:
        from regard.studio.bench import Bench
        from regard.studio.serve import serve
        from regard.studio.workspace import Workspace
    except ImportError as error:
        raise needs(error) from error
    bench, folder = Bench(modules_of(module), module or ()), Workspace(workspace, data)
    if model is not None:
        bench.open_model(folder.locate(model), model)
    modules = [str(Path(reference).absolute()) for reference in module or ()]
    serve(
        bench,
        folder,
        host=host,
        port=port,
        remote=allow_remote,
        browser=browser,
        modules=modules,
    )
