"""The few things that a restricted pickle may make: plain containers, and tensors within their storage's bounds."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from regard.weights.record import GlobalName, Record, Storage

MAX_DIMENSIONS = 32
MAX_REPEATED = 2**24  # elements of a tensor whose strides repeat its storage, as an expanded anchor grid's do


def checked_key(key: object) -> object:
    """Return ``key`` if it may be a dictionary's key or a set's member.

    Raises:
        TypeError: hashing it could run deep into it (a nested tuple would overflow the C stack), or cannot be done.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if not all(part is None or isinstance(part, str | bytes | int | float | GlobalName | Record) for part in parts):
        raise TypeError(f"a {type(key).__name__} as the key of a dictionary or member of a set")
    return key


def _pairs(items: Iterable[object] | Mapping[object, object]) -> list[tuple[object, object]]:
    pairs = items.items() if isinstance(items, Mapping) else items
    checked = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise TypeError("a dictionary of something else than pairs")
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
    """Return the strided view of a storage (``torch._utils._rebuild_tensor_v2``); gradient flag and hooks are dropped.

    Raises:
        ValueError: the view would reach outside the storage, or is absurdly large.
    """
    if isinstance(storage, Record):  # of a type that we do not read
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
    # A step along a dimension of length one is never taken, and may be too large for torch's integers.
    taken = [step if length > 1 else 1 for length, step in zip(sizes, strides, strict=True)]
    return storage.numbers.as_strided(sizes, taken, offset)


def _lengths(values: object) -> list[int]:
    if not isinstance(values, tuple | list) or not all(isinstance(value, int) and value >= 0 for value in values):
        raise ValueError("sizes or strides that are no natural numbers")
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
"""What may be made by calling, by full name; each is a function of this file."""
