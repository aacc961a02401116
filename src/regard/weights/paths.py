"""Where the weights of a model lie that a user named. No torch here."""

from __future__ import annotations

from pathlib import Path

from regard.errors import RegardError

CHECKPOINTS = (".pt", ".pth")
WEIGHTS = ".safetensors"
RUN_WEIGHTS = ("best.safetensors", "last.safetensors")


def weights_of(source: str | Path) -> Path | None:
    """Return the file with the weights that a path or a run folder means, or None for a graph or another file."""
    path = Path(source)
    if path.is_dir():
        return next((path / name for name in RUN_WEIGHTS if (path / name).is_file()), None)
    return path if path.is_file() and path.suffix.lower() in (WEIGHTS, *CHECKPOINTS) else None


def weights_of_run(folder: Path) -> Path:
    """Return the best weights in a run's folder.

    Raises:
        RegardError: there are none.
    """
    found = weights_of(folder)
    if found is None:
        expected = "a run folder with " + " or ".join(RUN_WEIGHTS)
        raise RegardError("no weights in this folder", file=folder, expected=expected)
    return found
