"""What stands for the classes, functions and objects of a pickle that must not be imported or run."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class GlobalName:
    """The name of a class or function that a pickle asked for; nothing was looked up."""

    module: str
    name: str

    @property
    def dotted(self) -> str:
        """The full name, such as ``models.common.C3``."""
        return f"{self.module}.{self.name}"


UNNAMED = GlobalName("pickle", "call")


@dataclass(eq=False, slots=True)
class Record:
    """What a pickle wanted made by calling a class or function; nothing was called.

    Attributes:
        made_by: the class or function; ``UNNAMED`` where the pickle called something else, then the first argument.
        args: positional arguments of the call.
        kwargs: its named arguments.
        state: what ``__setstate__`` or ``__dict__`` would have been given.
        items: what would have been appended.
        entries: pairs that would have been assigned by key.
    """

    made_by: GlobalName
    args: tuple[object, ...] = ()
    kwargs: object = None
    state: object = None
    items: list[object] = field(default_factory=list)
    entries: list[tuple[object, object]] = field(default_factory=list)

    def __repr__(self) -> str:
        # Not the fields: they may be nested deeply, or hold the record itself.
        return f"<inert {self.made_by.dotted!r}>"


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A storage of the archive, as a flat tensor."""

    numbers: Tensor
