"""Users' own layers, imported from their files by name, without a change to the package."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TypeVar

from torch import nn

from regard.errors import RegardError, nearest, one_of
from regard.graph.user_slices import Slices, needs_slices
from regard.system.files import is_file, reject_special

T = TypeVar("T")
STAMP = "_regard_stamp"
"""Attribute of an imported user's file: its path, and when it was changed last."""
CALL = "called: "
"""Begins the note of an exception that says how a layer was called."""
PARTS, SLICES, LAYER = "_regard_parts", "_regard_slices", "_regard_layer"
"""Attributes of a file that was imported in part: the names, and what has run; of a function: the layer of it."""


def import_modules(references: Iterable[str]) -> dict[str, type[nn.Module]]:
    """Import layers from the user's files. The code in these files is executed, as with any import.

    Args:
        references: ``my_attention.py:MyBlock``, or ``my_attention.py`` for all layers that the file defines. A name may
            also be that of a function of one map, which becomes a layer without options.

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
        classes = _classes_of(file, base, what, name)
        own = {key: layer for key, layer in classes.items() if layer.__module__ == _module_name(file)}
        if name not in classes and (name or not own):
            functions = _functions_of(file) if issubclass(nn.Module, base) else []
            known = [*own, *functions]
            others = (
                f"it has functions, of which one can be named: --module {file}:{functions[0]}" if functions else None
            )
            raise RegardError(
                f"the file contains no {what} {name!r}" if name else f"the file defines no {what}",
                file=file,
                expected=one_of(known) if name and known else expected,
                hint=nearest(name, known) if name else others,
            )
        found |= {name: classes[name]} if name else own
    return found


def reference_to(layer: type[nn.Module]) -> str:
    """Write how to refer to a layer: ``file.py:Class`` if it comes from a file, otherwise its dotted name."""
    try:
        return f"{Path(inspect.getfile(layer)).name}:{layer.__qualname__}"
    except (TypeError, OSError):
        return f"{layer.__module__}.{layer.__qualname__}"


def explain(error: BaseException, layer: type[nn.Module], *, joins: bool = False) -> str:
    """Describe how a user's layer that raised ``error`` was called, and the line of its file that raised it."""
    first = next(iter(inspect.signature(layer).parameters), "")
    message = f"its first argument, {first!r}, was the number of input channels"
    if joins:
        message = "tried with the channels of its inputs as a list, its arguments as written, and these scaled"
    place, verb = last_frame(error, {source_file(layer)} - {None}), "raised"
    code = getattr(layer.__init__, "__code__", None)
    if place is None and code and code.co_filename == source_file(layer):
        place, verb = (code.co_filename, code.co_firstlineno), "defined"
    return f"{message}; {verb} in {place[0]}:{place[1]}" if place else message


@contextmanager
def noted_call(positional: Sequence[object], named: Mapping[str, object]) -> Iterator[None]:
    """Add to an exception of a layer the arguments of its constructor; `call_of` finds it there."""
    try:
        yield
    except Exception as error:  # a user's module may raise any exception
        values = [*map(repr, positional), *(f"{name}={value!r}" for name, value in named.items())]
        error.add_note(f"{CALL}({', '.join(values):.200})")
        raise


def call_of(error: BaseException) -> str:
    """The arguments that `noted_call` added, in parentheses; "" if there are none."""
    notes = getattr(error, "__notes__", ())
    return next((note.removeprefix(CALL) for note in notes if note.startswith(CALL)), "")


def where_named(name: str) -> str | None:
    """Say how to give a layer of that name in one of the imported files; None if none has one."""
    for space in _user_spaces():
        found, file = space.get(name), space[STAMP][0]
        unread = space[SLICES].defines(file, name) if SLICES in space else False
        if unread or isinstance(found, FunctionType) or (isinstance(found, type) and issubclass(found, nn.Module)):
            return f"{file} defines it: name it too, as in --module {file}:{name}"
        if found is not None:
            return f"{file} has {name!r}, which is no layer but of type {type(found).__name__}"
    return None


def source_file(layer: type[nn.Module]) -> str | None:
    """The file that defines a user's layer; None where it was typed in."""
    return getattr(sys.modules.get(layer.__module__), "__file__", None)


def last_frame(error: BaseException, files: Container[str | None]) -> tuple[str, int] | None:
    """Find the last file and line of some files that an error passed through."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    return next(((file, line) for file, line in reversed(frames) if file in files and line), None)


def _module_name(file: Path) -> str:
    return f"regard_user_{file.stem}"


def user_files() -> list[tuple[Path, tuple[str, ...]]]:
    """List the users' files that this process has imported, with the names of those that were imported in part."""
    return [(space[STAMP][0], tuple(space.get(PARTS, ()))) for space in _user_spaces()]


def _user_spaces() -> list[dict[str, Any]]:
    spaces = (getattr(module, "__dict__", {}) for module in list(sys.modules.values()))
    return [space for space in spaces if space.get(STAMP)]  # some packages put objects there that are no modules


def import_file(file: Path, what: str = "layer", names: Iterable[str] = ()) -> ModuleType:
    """Import a user's file, once unless it changes: two imports would make two classes of the same name.

    Args:
        file: the file.
        what: what messages call a class in it.
        names: what is needed of the file. A fork's file, whose imports cannot all be run, is imported in part.

    Raises:
        RegardError: there is no such file, or it raises an error.
    """
    if not is_file(file):
        reject_special(file)
        raise RegardError("no such file", file=file, expected=f"a Python file, as in my_{what}.py:My{what.title()}")
    module_name, stamp = _module_name(file), (file.absolute(), file.stat().st_mtime_ns)
    known = sys.modules.get(module_name)
    names = [name for name in names if name]
    if known is not None and vars(known).get(STAMP) == stamp and PARTS not in vars(known):
        return known
    if names and needs_slices(file):
        return _import_part(file, module_name, stamp, names)
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
        hint = None
        if isinstance(error, ImportError):
            hint = f"name the class, as in --module {file}:MyLayer: then only what it needs is imported"
        what = f"the file cannot be imported: {type(error).__name__}: {error}"
        raise RegardError(what, file=file, line=line, hint=hint) from error
    finally:
        sys.path.remove(str(file.parent.absolute()))
    setattr(module, STAMP, stamp)
    return module


def _import_part(file: Path, module_name: str, stamp: tuple[Path, int], names: Sequence[str]) -> ModuleType:
    """Import some names of a fork's file, and what they need; further ones later join the same module."""
    known = sys.modules.get(module_name)
    if known is None or vars(known).get(STAMP) != stamp or PARTS not in vars(known):
        known = ModuleType(module_name)
        known.__file__ = str(file)
        setattr(known, PARTS, {})
        setattr(known, SLICES, Slices())
        sys.modules[module_name] = known
    try:
        getattr(known, SLICES).load(file, names, known)
    except (Exception, SystemExit) as error:  # the user's code may raise any exception
        if isinstance(error, RegardError):
            raise
        place = last_frame(error, {str(file)})
        what = f"{', '.join(names)} cannot be imported: {type(error).__name__}: {error}"
        raise RegardError(what, file=file, line=place[1] if place else None) from error
    getattr(known, PARTS).update(dict.fromkeys(names))
    setattr(known, STAMP, stamp)
    return known


def _classes_of(file: Path, base: type[T], what: str, name: str) -> dict[str, type[T]]:
    """Collect the classes in the namespace of a file that derive from ``base``, imported ones included."""
    names = vars(import_file(file, what, [name]))
    classes = {key: kind for key, kind in names.items() if isinstance(kind, type) and issubclass(kind, base)}
    function = names.get(name)
    if isinstance(function, FunctionType) and issubclass(nn.Module, base):
        classes[name] = _layer_of(function)  # type: ignore[assignment]
    return classes


def _functions_of(file: Path) -> list[str]:
    """Names of the functions that an imported file defines for others."""
    module = _module_name(file)
    values = vars(sys.modules[module]).items()
    return [key for key, f in values if isinstance(f, FunctionType) and f.__module__ == module and key[0] != "_"]


def _layer_of(function: FunctionType) -> type[nn.Module]:
    """A layer that computes a function of its input; the same class for the same function."""
    known: type[nn.Module] | None = getattr(function, LAYER, None)
    if known is None:
        space = {"forward": lambda _, x: function(x), "takes_channels": False, "__doc__": function.__doc__}
        known = type(function.__name__, (nn.Module,), space | {"__module__": function.__module__})
        setattr(function, LAYER, known)
    return known
