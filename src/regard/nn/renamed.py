"""Options that have been renamed: old names in graphs, on the command line and in Python are still understood."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from regard.errors import RegardDeprecationWarning, RegardError, warn

RENAMED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "heads": ("num_heads",),
        "ratio": ("reduction", "mlp_ratio"),
        "ffn_ratio": ("mlp_ratio",),
        "key_channels": ("qk_dim",),
        "positions": ("pos_embed",),
        "normaliser": ("score_activation",),
        "stretch": ("chunk_size",),
    }
)
"""Old name -> new names, of which a layer has one at most."""


def with_new_names(
    module: str, options: Mapping[str, Any], known: Collection[str], *, silent: bool = False
) -> dict[str, Any]:
    """Options of a layer by their current names, with a ``DeprecationWarning`` for each old name.

    A layer that still has an option of an old name, such as a user's own, keeps it.

    Args:
        module: class of the layer, for messages.
        options: as given.
        known: names of its options.
        silent: issue no warning, where there has been one.

    Raises:
        RegardError: an option is given by its old name and its new one.

    Example:
        >>> with_new_names("SE", {"reduction": 8}, ["reduction"])
        {'reduction': 8}
    """
    result: dict[str, Any] = {}
    for name, value in options.items():
        candidates = (new for new in RENAMED.get(name, ()) if new in known)
        new = name if name in known else next(candidates, name)
        if new != name:
            if new in options:
                raise RegardError(f"{module}: options {name!r} and {new!r} are the same", expected=f"{new!r} alone")
            if not silent:
                message = f"{module}: option {name!r} is now called {new!r}; the old name will be removed"
                warn(message, RegardDeprecationWarning)
        result[new] = value
    return result


class OldNames:
    """Base class of layers whose constructors still take options by their old names, with a ``DeprecationWarning``."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" not in cls.__dict__:
            return
        construct, owner = cls.__init__, cls.__name__
        known = frozenset(inspect.signature(construct).parameters)
        if known.isdisjoint(new for names in RENAMED.values() for new in names):
            return

        @functools.wraps(construct)
        def renaming(self: Any, *arguments: Any, **named: Any) -> None:
            if not RENAMED.keys().isdisjoint(named):
                named = with_new_names(owner, named, known)
            construct(self, *arguments, **named)

        cls.__init__ = renaming  # type: ignore[method-assign]
