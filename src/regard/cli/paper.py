"""The command `paper`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def paper(
    study: Annotated[Path, typer.Argument(help="Folder of a study of `regard ablate`.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path("paper"),
) -> None:
    """Write the parts of a paper from a study: LaTeX tables, the forest plot as PDF, paragraphs in two languages."""
    from regard.ablate.paper import write_paper
    from regard.system.terminal import printable

    for file in write_paper(study, output):
        print(printable(file))
