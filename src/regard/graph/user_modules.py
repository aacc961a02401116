"""Users' own layers, imported from their files by name, without a change to the package."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Container, Iterable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from torch import nn

from regard.errors import RegardError, nearest
from regard.system.files import is_file, reject_special

T = TypeVar("T")
STAMP = "_regard_stamp"
"""Attribute of an imported user's file: its path, and when it was changed last."""


def import_modules(references: Iterable[str]) -> dict[str, type[nn.Module]]:
    """Import layers from the user's files. The code in these files is executed, as with any import.

    Args:
        references: ``my_attention.py:MyBlock``, or ``my_attention.py`` for all layers that the file defines.

    Raises:
        RegardError: there is no such file or class, the file raises an error, or the class is not an ``nn.Module``.
    """
    return import_classes(references, nn.Module, "layer")


def import_classes(references: Iterable[str], base: type[T], what: str) -> dict[str, type[T]]:
    """Import the classes that derive from ``base`` from the user's files; see `import_modules`.

    Args:
        references: ``file.py:Class``, or ``file.py`` for every such class that the file defines.
        base: their base class.
        what: what messages call such a class.

    Raises:
        RegardError: no such file, an error in it, no such class, or a class that does not derive from ``base``.
    """
    expected = f"a class that derives from {base.__name__}"
    found: dict[str, type[T]] = {}
    for reference in references:
        path, _, name = reference.partition(".py:")
        file = Path(f"{path}.py" if name else path)
        classes = _classes_of(file, base, what)
        own = {key: layer for key, layer in classes.items() if layer.__module__ == _module_name(file)}
        if not own and not name:
            raise RegardError(f"the file defines no {what}", file=file, expected=expected)
        if name and name not in classes:
            raise RegardError(
                f"the file contains no {what} {name!r}",
                file=file,
                expected="one of " + ", ".join(own) if own else expected,
                hint=nearest(name, own),
            )
        found |= {name: classes[name]} if name else own
    return found


def reference_to(layer: type[nn.Module]) -> str:
    """Write how to refer to a layer: ``file.py:Class`` if it comes from a file, otherwise its dotted name."""
    try:
        return f"{Path(inspect.getfile(layer)).name}:{layer.__qualname__}"
    except (TypeError, OSError):
        return f"{layer.__module__}.{layer.__qualname__}"


def explain(error: BaseException, layer: type[nn.Module]) -> str:
    """Describe how a user's layer that raised ``error`` was called, and the line of its file that raised it."""
    first = next(iter(inspect.signature(layer).parameters))
    message = f"its first argument, {first!r}, was the number of input channels"
    place = last_frame(error, {source_file(layer)} - {None})
    return f"{message}; raised in {place[0]}:{place[1]}" if place else message


def source_file(layer: type[nn.Module]) -> str | None:
    """The file that defines a user's layer; None where it was typed in."""
    return getattr(sys.modules.get(layer.__module__), "__file__", None)


def last_frame(error: BaseException, files: Container[str | None]) -> tuple[str, int] | None:
    """Find the last file and line of some files that an error passed through."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    return next(((file, line) for file, line in reversed(frames) if file in files and line), None)


def _module_name(file: Path) -> str:
    return f"regard_user_{file.stem}"


def user_files() -> list[Path]:
    """List the users' files that this process has imported."""
    stamps = (getattr(module, "__dict__", {}).get(STAMP) for module in list(sys.modules.values()))
    return [stamp[0] for stamp in stamps if stamp]  # some packages put objects that are no modules into sys.modules


def import_file(file: Path, what: str = "layer") -> ModuleType:
    """Import a user's file, once unless it changes: two imports would make two classes of the same name.

    Args:
        file: the file.
        what: what messages call a class in it.

    Raises:
        RegardError: there is no such file, or it raises an error.
    """
    if not is_file(file):
        reject_special(file)
        raise RegardError("no such file", file=file, expected=f"a Python file, as in my_{what}.py:My{what.title()}")
    module_name, stamp = _module_name(file), (file.absolute(), file.stat().st_mtime_ns)
    known = sys.modules.get(module_name)
    if known is not None and vars(known).get(STAMP) == stamp:
        return known
    module_spec = importlib.util.spec_from_file_location(module_name, file)
    if module_spec is None or module_spec.loader is None:
        raise RegardError("not a Python file", file=file, expected="a file that ends in .py")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module  # so that its classes can be pickled for worker processes
    sys.path.insert(0, str(file.parent.absolute()))  # so that it can import files next to it, as when it is run
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's code may raise any exception
        place = last_frame(error, {module_spec.origin})
        line = getattr(error, "lineno", None) or (place[1] if place else None)
        raise RegardError(
            f"the file cannot be imported: {type(error).__name__}: {error}", file=file, line=line
        ) from error
    finally:
        sys.path.remove(str(file.parent.absolute()))
    setattr(module, STAMP, stamp)
    return module


def _classes_of(file: Path, base: type[T], what: str) -> dict[str, type[T]]:
    """Collect the classes in the namespace of a file that derive from ``base``, imported ones included."""
    names = vars(import_file(file, what))
    return {name: kind for name, kind in names.items() if isinstance(kind, type) and issubclass(kind, base)}
