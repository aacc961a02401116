"""The studio: a local page on which a detector is seen, edited and inspected, over the functions of `regard.api`.

The package itself can be called, as ``regard.studio("yolov5n.pt")``: see `regard.studio.notebook.studio`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from regard.errors import RegardError
from regard.system.interrupts import interrupts_deferred


class _Callable(ModuleType):
    """This package, which is also a function of the API: both have the name ``regard.studio``."""

    @interrupts_deferred()
    def __call__(self, *args: Any, **options: Any) -> Any:
        try:
            from regard.studio.notebook import studio
        except ImportError as error:
            raise needs(error) from error
        return studio(*args, **options)


def needs(error: ImportError) -> RegardError:
    """Say which package the studio lacks, and how to install it."""
    return RegardError(f"the studio needs {error.name}, which is not installed", hint='pip install "regard[studio]"')


sys.modules[__name__].__class__ = _Callable
