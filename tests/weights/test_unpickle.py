"""Malicious, broken and honest pickles: nothing in them is ever run."""

from __future__ import annotations

import io
import pickle
import random
import struct
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from regard.errors import RegardError
from regard.weights import unpickle
from regard.weights.inert import GlobalName, Record
from regard.weights.unpickle import read_pickle

Forge = Callable[..., Path]


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def attacks(sentinel: Path) -> dict[str, bytes]:
    """Return programs that create ``sentinel`` when an ordinary unpickler runs them, one for each way in."""
    touch = text(f"touch {sentinel}")
    code = text(f"open({str(sentinel)!r}, 'w')")
    reduce_system = b"cos\nsystem\n(" + touch + b"tR."
    return {
        "GLOBAL, REDUCE": reduce_system,
        "posix": b"cposix\nsystem\n(" + touch + b"tR.",
        "STACK_GLOBAL": b"\x80\x04" + text("os") + text("system") + b"\x93(" + touch + b"tR.",
        "builtins.eval": b"cbuiltins\neval\n(" + code + b"tR.",
        "builtins.exec, protocol 4": b"\x80\x04" + text("builtins") + text("exec") + b"\x93" + code + b"\x85R.",
        "INST": b"(" + touch + b"ios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + touch + b"o.",
        "NEWOBJ": b"\x80\x02csubprocess\nPopen\n(](" + text("touch") + text(str(sentinel)) + b"et\x81.",
        "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n)}"
        + text("args")
        + b"]("
        + text("touch")
        + text(str(sentinel))
        + b"es\x92.",
        "getattr chain": b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n("
        + text("os")
        + b"tR"
        + text("system")
        + b"tR("
        + touch
        + b"tR.",
        "dotted STACK_GLOBAL": b"\x80\x04" + text("torch.storage") + text("os.system") + b"\x93(" + touch + b"tR.",
        "UntypedStorage.from_file": b"\x80\x04"
        + text("torch.storage")
        + text("UntypedStorage.from_file")
        + b"\x93("
        + text(str(sentinel))
        + b"\x88K\x08tR.",
        "apply of a name": b"cbuiltins\nmap\n(cos\nsystem\n](" + touch + b"etR.",
        "copyreg extension table": b"ccopyreg\nadd_extension\n("
        + text("os")
        + text("system")
        + b"K\x07tR0\x82\x07("
        + touch
        + b"tR.",
        "copyreg.__newobj__": b"ccopyreg\n__newobj__\n(csubprocess\nPopen\n]("
        + text("touch")
        + text(str(sentinel))
        + b"etR.",
        "BUILD into a module's dict": b"cbuiltins\n__dict__\n}" + text("len") + b"cos\nsystem\nsb" + reduce_system,
        "BUILD sets __setstate__": b"ccollections\nOrderedDict\n)R}"
        + text("__setstate__")
        + b"cos\nsystem\nsb"
        + touch
        + b"b.",
        "BUILD sets __reduce__ of a record": b"cos\nsystem\n)\x81}"
        + text("__setstate__")
        + b"cos\nsystem\nsb"
        + touch
        + b"b.",
        "pickle in bytes": b"cpickle\nloads\n(B" + struct.pack("<I", len(reduce_system)) + reduce_system + b"tR.",
        "torch.load of a member": b"ctorch\nload\n(" + text("archive/evil.pkl") + b"tR.",
        "tensor with a hook": b"ctorch._utils\n_rebuild_parameter\n(cos\nsystem\n("
        + touch
        + b"tR\x89(cos\nsystem\n"
        + touch
        + b"ltR.",
        "_rebuild_from_type_v2": b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\ncos\nsystem\n("
        + touch
        + b"tNtR.",
        "persistent id of a call": reduce_system[:-1] + b"Q.",
        "persistent id of text": b"Pstorage\n.",
        "key of a dictionary": b"}" + reduce_system[:-1] + b"K\x01s.",
        "list made of a call": b"cbuiltins\nlist\n(" + reduce_system[:-1] + b"tR.",
        "default factory": b"ccollections\ndefaultdict\n(cos\nsystem\n](" + touch + b"K\x01\x86etR.",
        "runpy": b"crunpy\n_run_code\n(" + code + b"}tR.",
        "next buffer": b"\x80\x05\x97\x98.",
    }


NAMES = list(attacks(Path("x")))


@pytest.mark.parametrize("name", NAMES)
def test_attacks_do_nothing(name: str, forge: Forge, tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    path = forge(attacks(sentinel)[name], **{"evil.pkl": attacks(sentinel)[NAMES[0]]})
    assert is_inert(outcome(path))
    assert not sentinel.exists()
    assert OrderedDict(a=1) == {"a": 1}, "a class was changed"


def test_the_attacks_are_real(tmp_path: Path) -> None:
    """An ordinary unpickler does run a sample of them (else the test above would prove nothing)."""
    for name in ("GLOBAL, REDUCE", "STACK_GLOBAL", "INST", "OBJ", "builtins.eval", "getattr chain", "pickle in bytes"):
        sentinel = tmp_path / "run"
        program = attacks(sentinel)[name]
        subprocess.run([sys.executable, "-c", f"import pickle; pickle.loads({program!r})"], check=True)
        assert sentinel.exists(), name
        sentinel.unlink()


def test_an_import_is_not_even_tried(forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "booby_trap.py").write_text(f"open({str(tmp_path / 'sentinel')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    value = read_pickle(forge(b"cbooby_trap\nThing\n."))
    assert value == GlobalName("booby_trap", "Thing")
    assert not (tmp_path / "sentinel").exists()


def outcome(path: Path) -> object:
    """Return what is read, or the text of the one error that is allowed."""
    try:
        return read_pickle(path)
    except RegardError as error:
        return str(error)


def is_inert(value: object) -> bool:
    if isinstance(value, dict):
        return all(is_inert(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return all(is_inert(item) for item in value)
    if isinstance(value, Record):
        return is_inert([value.args, value.kwargs, value.state, value.items, value.entries])
    return value is None or type(value) in (str, bytes, bytearray, int, float, bool, GlobalName, torch.Tensor)


def test_a_record_remembers_what_was_asked(forge: Forge) -> None:
    record = read_pickle(
        forge(b"\x80\x04cm\nC\n(K\x05t}" + text("k") + b"K\x07s\x92}" + text("s") + b"K\x0bsb(K\re(K\x11K\x13u.")
    )
    assert isinstance(record, Record)
    assert record.made_by == GlobalName("m", "C")
    assert (record.args, record.kwargs, record.state) == ((5,), {"k": 7}, {"s": 11})
    assert (record.items, record.entries) == ([13], [(17, 19)])
    assert repr(record) == "<inert 'm.C'>"
    assert not callable(record)


def persistent(kind: str, key: str, numel: int) -> bytes:
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + f"I{numel}\ntQ".encode()


def tensor(storage: bytes, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(f"L{value}L\n".encode() for value in values) + b"t"

    head = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + f"L{offset}L\n".encode()
    return head + numbers(size) + numbers(stride) + b"\x89}tR."


SEVEN = struct.pack("<7f", *range(7))


@pytest.mark.parametrize(
    ("numel", "offset", "size", "stride"),
    [
        (7, 0, (8,), (1,)),
        (7, 5, (3,), (1,)),
        (7, 0, (2, 2), (6, 1)),
        (8, 0, (7,), (1,)),
        (-7, 0, (7,), (1,)),
        (2**62, 0, (2**62,), (1,)),
        (2**64, 0, (7,), (1,)),
        (7, -1, (3,), (1,)),
        (7, 0, (-3,), (1,)),
        (7, 6, (3,), (-1,)),
        (7, 0, (3,), (1, 1)),
        (7, 0, (2**33, 2**33), (0, 0)),
        (7, 0, (2**40,), (0,)),
        (7, 0, (0, 2**62, 2**62), (1, 1, 1)),
        (7, 2**70, (1,), (1,)),
        (7, 0, (1,) * 1000, (1,) * 1000),
    ],
)
def test_tensors_stay_within_their_storage(
    numel: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...], forge: Forge
) -> None:
    path = forge(tensor(persistent("FloatStorage", "0", numel), offset, size, stride), data__0=SEVEN)
    with pytest.raises(RegardError, match="pickle in it"):
        read_pickle(path)


def test_views_are_rebuilt(forge: Forge) -> None:
    storage = persistent("FloatStorage", "0", 7)

    def read(offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Any:
        return read_pickle(forge(tensor(storage, offset, size, stride), data__0=SEVEN))

    assert read(1, (2, 3), (1, 2)).tolist() == [[1, 3, 5], [2, 4, 6]]
    assert read(6, (), ()).item() == 6
    assert read(3, (1, 2), (2**70, 1)).tolist() == [[3, 4]]
    assert read(2, (5,), (0,)).tolist() == [2] * 5
    assert read(0, (0, 3), (3, 1)).shape == (0, 3)


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b".",
        b"N",
        b"e.",
        b"(.",
        b"\x85.",
        b"h\x05.",
        b"\xff.",
        b"Nr\xff\xff\xff\x7f.",
        b"Np-1\n.",
        b"}}N s.",
        b"}]Ns.",
        b"(NNNd.",
        b"NNR.",
        b"cos\nsystem\n]R.",
        b"c\xe9\nx\n.",
        b"\x8a\xff.",
        b"B\xff\xff\xff\xff.",
        b"\x96" + b"\xff" * 8 + b".",
        b"K\x01K\x02b.",
        b"K\x01K\x02a.",
        b"L" + b"9" * 100_000 + b"L\n.",
        b"\x82\x01.",
        b"\x83\x01\x01.",
        b"\x84\x01\x01\x01\x01.",
        b"ccollections\nOrderedDict\n(](K\x01K\x02etR.",
        b"ctorch._utils\n_rebuild_parameter\n(K\x01\x89}tR.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00))tR.",
        b"\x93.",
        b"K\x01K\x02\x93.",
    ],
)
def test_broken_programs_are_one_clear_error(program: bytes, forge: Forge) -> None:
    with pytest.raises(RegardError, match="pickle in it cannot be read"):
        read_pickle(forge(program))


@pytest.mark.parametrize(
    "program",
    [
        b")" + b"\x85" * 100_000 + b".",
        b"]" * 100_000 + b"a" * 99_999 + b".",
        b"cm\nf\n" + b")R" * 100_000 + b".",
        b"}" + b")" + b"\x85" * 100_000 + b"Ns.",
        b"\x8f(" + b")" + b"\x85" * 100_000 + b"\x90.",
        b"(" * 100_000 + b"N" + b"t" * 100_000 + b".",
    ],
)
def test_deep_nesting_is_one_clear_error(program: bytes, forge: Forge) -> None:
    with pytest.raises(RegardError, match=r"deep|key"):
        read_pickle(forge(program))


def test_containers_cannot_multiply(forge: Forge) -> None:
    copies = b"cbuiltins\nlist\n(h\x00tR0" * 1000
    with pytest.raises(RegardError, match="repeatedly"):
        read_pickle(forge(b"](" + b"N" * 10_000 + b"eq\x00" + copies + b"."))


def test_a_container_may_hold_itself(forge: Forge) -> None:
    value = read_pickle(forge(b"]q\x00h\x00a."))
    assert isinstance(value, list)
    assert value[0] is value


def test_what_torch_saves_comes_back(tmp_path: Path) -> None:
    kinds = ("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool")
    saved: dict[str, Any] = {kind: torch.arange(11).to(getattr(torch, kind)) for kind in kinds}
    base = torch.randn(3, 5)
    saved |= {"view": base.T[1:, ::2], "parameter": torch.nn.Parameter(base), "empty": torch.empty(0, 7)}
    saved |= {"plain": [1, -(2**70), 2.5, None, True, {"k"}, frozenset({7}), (1, (2,)), torch.Size([2, 3])]}
    saved |= {"ordered": OrderedDict(a=1), "device": torch.device("cpu"), "dtype": torch.float32}
    torch.save(saved, tmp_path / "saved.pt")
    read: Any = read_pickle(tmp_path / "saved.pt")
    assert list(read) == list(saved)
    for key, value in saved.items():
        if isinstance(value, torch.Tensor):
            assert type(read[key]) is torch.Tensor
            assert read[key].dtype == value.dtype
            assert torch.equal(read[key], value)
    assert read["plain"][:-1] == saved["plain"][:-1]
    assert tuple(read["plain"][-1]) == (2, 3)
    assert read["ordered"] == saved["ordered"]
    assert read["device"].made_by.dotted == "torch.device"
    assert read["dtype"].dotted == "torch.float32"
    assert read["view"].untyped_storage().data_ptr() == read["parameter"].untyped_storage().data_ptr()


def test_what_we_do_not_read_stays_inert(tmp_path: Path) -> None:
    content = {"complex": torch.zeros(3, dtype=torch.complex64), "path": tmp_path, "sparse": torch.eye(3).to_sparse()}
    torch.save(content, tmp_path / "odd.pt")
    read: Any = read_pickle(tmp_path / "odd.pt")
    assert all(isinstance(value, Record) for value in read.values())


def test_random_damage_is_one_clear_error(tmp_path: Path) -> None:
    whole = io.BytesIO()
    torch.save({"a": torch.arange(7), "b": [torch.randn(3, 5).half()], "c": OrderedDict(d="e")}, whole)
    random.seed(0)
    path = tmp_path / "damaged.pt"
    rejected = 0
    for trial in range(300):
        data = bytearray(whole.getvalue())
        if trial % 3 == 0:
            del data[random.randrange(len(data)) :]
        for _ in range(trial % 3):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        path.write_bytes(data)
        rejected += isinstance(outcome(path), str)
    assert 100 <= rejected < 300


def test_random_damage_inside_the_pickle(forge: Forge) -> None:
    honest = pickle.dumps({"a": [1, 2.5, "b", (None, {3})], "c": OrderedDict(d=b"e")}, protocol=2)
    random.seed(1)
    for _ in range(300):
        data = bytearray(honest)
        for _ in range(random.randrange(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        assert is_inert(outcome(forge(bytes(data))))


def test_many_objects_are_an_error_before_they_fill_the_memory(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpickle, "MOST_INSTRUCTIONS", 1000)
    read_pickle(forge(b"\x80\x02" + b"\x8f" * 997 + b"}."))
    with pytest.raises(RegardError, match="instructions"):
        read_pickle(forge(b"\x80\x02" + b"\x8f" * 1000 + b"}."))


def test_the_storages_that_a_pickle_names_are_bounded(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpickle, "MOST_STORAGES", 10)
    again = persistent("FloatStorage", "0", 1)
    read_pickle(forge(b"\x80\x02(" + again * 10 + b"l.", data__0=SEVEN))
    with pytest.raises(RegardError, match="storages"):
        read_pickle(forge(b"\x80\x02(" + again * 11 + b"l.", data__0=SEVEN))


@pytest.mark.parametrize("opcode", ["s", "u", "set"])
def test_keys_are_numbers_with_hashes_of_their_own(opcode: str, forge: Forge) -> None:
    number = (3 * (2**61 - 1)).to_bytes(9, "little")
    large = b"\x8a\x09" + number
    programs = {"s": b"}" + large + b"K\x01s.", "u": b"}(" + large + b"K\x01u.", "set": b"\x8f(" + large + b"\x90."}
    with pytest.raises(RegardError, match="60 bits"):
        read_pickle(forge(b"\x80\x04" + programs[opcode]))
