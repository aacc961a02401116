"""Users' own layers: brought in by file and name, without a change to the package."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path

from torch import nn

from regard.errors import RegardError, nearest


def import_modules(references: Iterable[str]) -> dict[str, type[nn.Module]]:
    """Import layers from the user's files. Their code runs, as with any import.

    Args:
        references: ``my_attention.py:MyBlock``, or ``my_attention.py`` for every layer that the file defines.

    Raises:
        RegardError: no such file, an error in it, no such class, or a class that is no ``nn.Module``.
    """
    found: dict[str, type[nn.Module]] = {}
    for reference in references:
        path, _, name = reference.partition(".py:")
        file = Path(f"{path}.py" if name else path)
        classes = _classes_of(file)
        if name and name not in classes:
            raise RegardError(
                f"there is no layer {name!r} in it",
                file=file,
                expected="one of " + (", ".join(classes) or "(the file defines no nn.Module)"),
                hint=nearest(name, classes),
            )
        found |= {name: classes[name]} if name else classes
    return found


def reference_to(layer: type[nn.Module]) -> str:
    """Return how to ask for ``layer`` again: ``file.py:Class`` where it has a file, else its dotted name."""
    try:
        return f"{Path(inspect.getfile(layer)).name}:{layer.__qualname__}"
    except (TypeError, OSError):
        return f"{layer.__module__}.{layer.__qualname__}"


def _classes_of(file: Path) -> dict[str, type[nn.Module]]:
    if not file.is_file():
        raise RegardError("no such file", file=file, expected="a Python file, as in --module my_attention.py:MyBlock")
    module_name = f"regard_user_{file.stem}"
    module_spec = importlib.util.spec_from_file_location(module_name, file)
    if module_spec is None or module_spec.loader is None:
        raise RegardError("not a Python file", file=file, expected="a file that ends in .py")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module  # so that classes in it can be pickled to worker processes
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        line = getattr(error, "lineno", None)
        raise RegardError(f"it cannot be imported: {type(error).__name__}: {error}", file=file, line=line) from error
    classes = {n: c for n, c in vars(module).items() if isinstance(c, type) and issubclass(c, nn.Module)}
    return {n: c for n, c in classes.items() if c.__module__ == module_name}
