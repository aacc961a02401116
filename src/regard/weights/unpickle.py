"""Reading torch checkpoints without executing any of their content.

A pickle is a program for a stack machine with instructions that import and call objects. This machine cannot do either:
``pickletools.genops`` only decodes the instructions, a global becomes a pair of names, and a call becomes a ``Record``
of the call. The only exceptions are the few names in ``BUILDERS``, whose containers and tensors are created by our own
code. There is never a callable on the stack, so no content of the stack can be executed.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from regard.errors import RegardError
from regard.weights.archive import EXPECTED, PICKLE, TorchArchive, open_archive
from regard.weights.inert import BUILDERS, UNNAMED, GlobalName, Record, Storage, checked_key

MAX_DEPTH = 500

MOST_INSTRUCTIONS, MOST_STORAGES = 2_000_000, 200_000
"""Bounds of time and memory: the largest YOLO checkpoints have about 150,000 instructions, and name 1,500 storages."""

STORAGE_TYPES = MappingProxyType(
    {
        "HalfStorage": torch.float16,
        "BFloat16Storage": torch.bfloat16,
        "FloatStorage": torch.float32,
        "DoubleStorage": torch.float64,
        "CharStorage": torch.int8,
        "ByteStorage": torch.uint8,
        "ShortStorage": torch.int16,
        "IntStorage": torch.int32,
        "LongStorage": torch.int64,
        "BoolStorage": torch.bool,
    }
)


def read_pickle(path: Path) -> object:
    """Read a torch zip checkpoint as plain containers, tensors on the CPU, and records of all other objects.

    Parameters become plain tensors. Tensors of the same storage share memory.

    Raises:
        RegardError: the file is missing, not a torch zip checkpoint, damaged, or malicious.
    """
    with open_archive(path) as archive:
        if f"{archive.folder}/byteorder" in archive.members and archive.read("byteorder") != b"little":
            raise RegardError("a checkpoint from a big-endian machine", file=path, expected="little-endian numbers")
        pickle = archive.read(PICKLE)
        try:
            value = _Machine(archive, len(pickle)).run(pickle)
            _check_depth(value)
        except (ValueError, LookupError, TypeError, OverflowError, RuntimeError) as error:
            raise RegardError(
                f"the pickle in it cannot be read: {error!s:.200}", file=path, expected=EXPECTED
            ) from error
    return value


class _Machine:
    """The stack machine; ``below`` contains the stacks that MARK instructions have set aside."""

    def __init__(self, archive: TorchArchive, size: int) -> None:
        self.archive = archive
        self.size = size
        self.copied = self.storages = 0
        self.stack: list[object] = []
        self.below: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.buffers: dict[str, bytearray] = {}

    def run(self, pickle: bytes) -> object:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(pickle)):
            if count > MOST_INSTRUCTIONS:
                raise ValueError(f"more than {MOST_INSTRUCTIONS:,} instructions")
            if opcode.name in LITERALS:
                self.push(argument)
            elif opcode.name in OPERATIONS:
                OPERATIONS[opcode.name](self, argument)
            elif opcode.name not in IGNORED:
                raise ValueError(f"instruction {opcode.name} at byte {position} is not allowed in a checkpoint")
        return self.stack.pop()

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[object]:
        """Remove the values pushed since the last MARK, and give them back."""
        above, self.stack = self.stack, self.below.pop()
        return above

    def push(self, value: object) -> None:
        self.stack.append(value)

    def take(self, count: int) -> list[object]:
        """Remove the ``count`` topmost values; the last pushed is the last of the list."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def discard(self) -> None:
        """POP: remove the topmost value, or an empty mark."""
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def put(self, index: object) -> None:
        # Every entry takes an instruction, so no valid index exceeds the length of the pickle.
        if not isinstance(index, int) or not 0 <= index <= self.size:
            raise ValueError(f"memo index {index} in a pickle of {self.size} bytes")
        self.memo[index] = self.stack[-1]

    def get(self, index: object) -> None:
        if not isinstance(index, int) or index not in self.memo:
            raise ValueError(f"memo index {index} was never set")
        self.push(self.memo[index])

    def append(self, items: Iterable[object]) -> None:
        target = self.stack[-1]
        if isinstance(target, Record):
            target.items.extend(items)
        elif isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(checked_key(item) for item in items)
        else:
            raise TypeError(f"items for a {type(target).__name__}")

    def assign(self, flat: list[object]) -> None:
        target = self.stack[-1]
        pairs = zip(flat[::2], flat[1::2], strict=True)
        if isinstance(target, Record):
            target.entries.extend(pairs)
        elif isinstance(target, dict):
            target.update((checked_key(key), value) for key, value in pairs)
        else:
            raise TypeError(f"entries for a {type(target).__name__}")

    def build(self, state: object) -> None:
        target = self.stack[-1]
        if isinstance(target, Record):
            target.state = state
        elif not isinstance(target, dict | set):  # their attributes, such as a state dict's _metadata, are not needed
            raise TypeError(f"a state for a {type(target).__name__}")

    def name(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("a global whose name is no text")
        self.push(GlobalName(module, name))

    def dictionary(self, flat: list[object]) -> None:
        self.push({})
        self.assign(flat)

    def call_named(self, place: object, args: list[object]) -> None:
        """INST: ``place`` is module and class, with a space between."""
        module, _, cls = str(place).partition(" ")
        self.call(GlobalName(module, cls), tuple(args))

    def call_first(self, called: object, *args: object) -> None:
        """OBJ: the class was pushed before its arguments."""
        self.call(called, args)

    def call(self, called: object, args: object, kwargs: object = None) -> None:
        """Push the object, or the record, of the call ``called(*args, **kwargs)``."""
        if not isinstance(args, tuple):
            raise TypeError("a call whose arguments are not a tuple")
        if not isinstance(called, GlobalName):
            self.push(Record(UNNAMED, (called, *args), kwargs))
            return
        builder = BUILDERS.get(called.dotted)
        if builder is None or kwargs:
            self.push(Record(called, args, kwargs))
            return
        self.copied += sum(len(arg) for arg in args if isinstance(arg, list | tuple | dict | set | frozenset))
        if self.copied > self.size:  # every element takes an instruction: a valid pickle copies it at most once
            raise ValueError("containers that are copied repeatedly")
        self.push(builder(*args))

    def persistent(self, identity: object) -> None:
        """Push the storage that ``("storage", type, key, location, numel)`` names."""
        self.storages += 1
        if self.storages > MOST_STORAGES:
            raise ValueError(f"more than {MOST_STORAGES:,} storages")
        match identity:
            case ("storage", GlobalName("torch", kind), str(key), _, int(numel), *_) if kind in STORAGE_TYPES:
                self.push(Storage(self.storage(STORAGE_TYPES[kind], key, numel)))
            case ("storage", GlobalName() as unknown, *rest):
                self.push(Record(unknown, tuple(rest)))
            case _:
                raise ValueError("a persistent id that does not name a storage")

    def storage(self, dtype: torch.dtype, key: str, numel: int) -> Tensor:
        if key not in self.buffers:
            self.buffers[key] = bytearray(self.archive.read(f"data/{key}"))
        buffer = self.buffers[key]
        if not 0 <= numel * dtype.itemsize <= len(buffer):
            raise ValueError(f"storage {key!r} should contain {numel} numbers, but has {len(buffer)} bytes")
        return torch.frombuffer(buffer, dtype=dtype, count=numel) if numel else torch.empty(0, dtype=dtype)


def _check_depth(value: object) -> None:
    """Reject values nested deeper than ``MAX_DEPTH``; without recursion, as the depth is unlimited."""
    level, seen = [value], {id(value)}
    for _ in range(MAX_DEPTH):
        children = [child for parent in level for child in _children(parent)]
        level = []
        for child in children:
            if id(child) not in seen:
                seen.add(id(child))
                level.append(child)
        if not level:
            return
    raise ValueError(f"containers nested more than {MAX_DEPTH} deep")


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, Record):
        return (
            *value.args,
            value.kwargs,
            value.state,
            *value.items,
            *(part for pair in value.entries for part in pair),
        )
    return ()


LITERALS = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
IGNORED = frozenset(("PROTO", "FRAME", "STOP"))
OPERATIONS: Mapping[str, Callable[[_Machine, object], object]] = MappingProxyType(
    {
        "NONE": lambda m, _: m.push(None),
        "NEWTRUE": lambda m, _: m.push(True),
        "NEWFALSE": lambda m, _: m.push(False),
        "EMPTY_LIST": lambda m, _: m.push([]),
        "EMPTY_DICT": lambda m, _: m.push({}),
        "EMPTY_SET": lambda m, _: m.push(set()),
        "EMPTY_TUPLE": lambda m, _: m.push(()),
        "TUPLE1": lambda m, _: m.push(tuple(m.take(1))),
        "TUPLE2": lambda m, _: m.push(tuple(m.take(2))),
        "TUPLE3": lambda m, _: m.push(tuple(m.take(3))),
        "TUPLE": lambda m, _: m.push(tuple(m.pop_mark())),
        "LIST": lambda m, _: m.push(m.pop_mark()),
        "DICT": lambda m, _: m.dictionary(m.pop_mark()),
        "FROZENSET": lambda m, _: m.push(frozenset(checked_key(item) for item in m.pop_mark())),
        "APPEND": lambda m, _: m.append(m.take(1)),
        "APPENDS": lambda m, _: m.append(m.pop_mark()),
        "ADDITEMS": lambda m, _: m.append(m.pop_mark()),
        "SETITEM": lambda m, _: m.assign(m.take(2)),
        "SETITEMS": lambda m, _: m.assign(m.pop_mark()),
        "MARK": lambda m, _: m.mark(),
        "POP": lambda m, _: m.discard(),
        "POP_MARK": lambda m, _: m.pop_mark(),
        "DUP": lambda m, _: m.push(m.stack[-1]),
        "PUT": lambda m, index: m.put(index),
        "BINPUT": lambda m, index: m.put(index),
        "LONG_BINPUT": lambda m, index: m.put(index),
        "MEMOIZE": lambda m, _: m.put(len(m.memo)),
        "GET": lambda m, index: m.get(index),
        "BINGET": lambda m, index: m.get(index),
        "LONG_BINGET": lambda m, index: m.get(index),
        "GLOBAL": lambda m, place: m.name(*str(place).split(" ", 1)),
        "STACK_GLOBAL": lambda m, _: m.name(*m.take(2)),
        "REDUCE": lambda m, _: m.call(*m.take(2)),
        "NEWOBJ": lambda m, _: m.call(*m.take(2)),
        "NEWOBJ_EX": lambda m, _: m.call(*m.take(3)),
        "OBJ": lambda m, _: m.call_first(*m.pop_mark()),
        "INST": lambda m, place: m.call_named(place, m.pop_mark()),
        "BUILD": lambda m, _: m.build(*m.take(1)),
        "BINPERSID": lambda m, _: m.persistent(*m.take(1)),
    }
)
"""The effect of each instruction; instructions that are in none of the three tables are rejected."""
