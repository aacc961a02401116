"""What a restricted pickle may contain: inert records of everything, except plain containers and bounded tensors.

No class or function that a pickle names is imported or called. ``BUILDERS`` are the only calls that are carried out, by
functions of this file, and a tensor is never larger than its storage allows.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

MAX_DIMENSIONS = 32
MAX_REPEATED = 2**24  # elements of a tensor whose strides repeat its storage, such as an expanded anchor grid


@dataclass(frozen=True, slots=True)
class GlobalName:
    """Name of a class or function in a pickle; nothing is imported for it."""

    module: str
    name: str

    @property
    def dotted(self) -> str:
        """Full name, such as ``models.common.C3``."""
        return f"{self.module}.{self.name}"


UNNAMED = GlobalName("pickle", "call")


@dataclass(eq=False, slots=True)
class Record:
    """Description of an object that a pickle would create by calling a class or function; nothing is called.

    Attributes:
        made_by: the class or function; ``UNNAMED`` if the pickle calls anything else, which is then the first argument.
        args: positional arguments of the call.
        kwargs: named arguments of the call.
        state: argument for ``__setstate__``, or content for ``__dict__``.
        items: items to append.
        entries: pairs to assign by key.
    """

    made_by: GlobalName
    args: tuple[object, ...] = ()
    kwargs: object = None
    state: object = None
    items: list[object] = field(default_factory=list)
    entries: list[tuple[object, object]] = field(default_factory=list)

    def __repr__(self) -> str:
        # Not the fields: they may be nested deeply, or contain the record itself.
        return f"<inert {self.made_by.dotted!r}>"


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A tensor storage of the archive, as a flat tensor."""

    numbers: Tensor


MOST_BITS = 60
"""Size of whole numbers that are keys: the hash of larger ones is their remainder by 2**61 - 1."""


def checked_key(key: object) -> object:
    """Check that ``key`` is safe as the key of a dictionary or the member of a set, and pass it on.

    Raises:
        TypeError: it cannot be hashed, or hashing could overflow the C stack (nested tuples).
        ValueError: it is a number of more than 60 bits, of which any amount can have one hash.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if any(isinstance(part, int) and part.bit_length() > MOST_BITS for part in parts):
        raise ValueError(f"a number of more than {MOST_BITS} bits as the key of a dictionary or member of a set")
    if not all(part is None or isinstance(part, str | bytes | int | float | GlobalName | Record) for part in parts):
        raise TypeError(f"a {type(key).__name__} as the key of a dictionary or member of a set")
    return key


def _pairs(items: Iterable[object] | Mapping[object, object]) -> list[tuple[object, object]]:
    pairs = items.items() if isinstance(items, Mapping) else items
    checked = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise TypeError("a dictionary that is not made of pairs")
        checked.append((checked_key(pair[0]), pair[1]))
    return checked


def _ordered_dict(items: Iterable[object] = ()) -> OrderedDict[object, object]:
    return OrderedDict(_pairs(items))


def _dict(items: Iterable[object] = ()) -> dict[object, object]:
    return dict(_pairs(items))


def _default_dict(_factory: object = None, items: Iterable[object] = ()) -> dict[object, object]:
    return dict(_pairs(items))


def _set(items: Iterable[object] = ()) -> set[object]:
    return {checked_key(item) for item in items}


def _frozenset(items: Iterable[object] = ()) -> frozenset[object]:
    return frozenset(_set(items))


def _tuple(items: Iterable[object] = ()) -> tuple[object, ...]:
    return tuple(items)


def _list(items: Iterable[object] = ()) -> list[object]:
    return list(items)


def _tensor(storage: object, offset: object, size: object, stride: object, *rest: object) -> Tensor | Record:
    """Make a strided view of a storage, as ``torch._utils._rebuild_tensor_v2``, without gradient flag and hooks.

    Raises:
        ValueError: the view extends beyond the storage, or is absurdly large.
    """
    if isinstance(storage, Record):  # of an unsupported type
        return Record(GlobalName("torch._utils", "_rebuild_tensor_v2"), (storage, offset, size, stride, *rest))
    if not isinstance(storage, Storage) or not isinstance(offset, int):
        raise TypeError("a tensor without a storage")
    sizes, strides = _lengths(size), _lengths(stride)
    if len(sizes) != len(strides) or len(sizes) > MAX_DIMENSIONS or offset < 0:
        raise ValueError(f"a tensor of {len(sizes)} sizes, {len(strides)} strides and offset {offset}")
    available = storage.numbers.numel()
    if math.prod(max(length, 1) for length in sizes) > max(available, MAX_REPEATED):
        raise ValueError(f"a tensor that claims far more elements than its storage has ({available})")
    if 0 in sizes:
        return torch.empty(sizes, dtype=storage.numbers.dtype)
    last = offset + sum((length - 1) * step for length, step in zip(sizes, strides, strict=True))
    if last >= available:
        raise ValueError(f"a tensor that reaches to element {last} of a storage of {available}")
    # The stride of a dimension of length one is never used, and may be too large for torch's integers.
    taken = [step if length > 1 else 1 for length, step in zip(sizes, strides, strict=True)]
    return storage.numbers.as_strided(sizes, taken, offset)


def _lengths(values: object) -> list[int]:
    if not isinstance(values, tuple | list) or not all(isinstance(value, int) and value >= 0 for value in values):
        raise ValueError("sizes or strides that are not natural numbers")
    return [int(value) for value in values]


def _parameter(data: object, *_flags: object) -> Tensor | Record:
    if not isinstance(data, Tensor | Record):
        raise TypeError(f"a parameter made of a {type(data).__name__}")
    return data


BUILDERS: Mapping[str, Callable[..., object]] = MappingProxyType(
    {
        "collections.OrderedDict": _ordered_dict,
        "collections.defaultdict": _default_dict,
        **{f"{module}.dict": _dict for module in ("builtins", "__builtin__")},
        **{f"{module}.set": _set for module in ("builtins", "__builtin__")},
        **{f"{module}.frozenset": _frozenset for module in ("builtins", "__builtin__")},
        **{f"{module}.list": _list for module in ("builtins", "__builtin__")},
        **{f"{module}.tuple": _tuple for module in ("builtins", "__builtin__")},
        "torch.Size": _tuple,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
    }
)
"""The calls that are carried out, by full name; each is a function of this file."""
