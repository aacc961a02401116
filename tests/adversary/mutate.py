"""Damage to text, bytes and plain values: by chance, but the same for the same seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

WORDS: tuple[str, ...] = (
    *("", "0", "-1", "1", "1e999", "-1e999", "nan", ".nan", ".inf", "-.inf", "inf", "NaN", "Infinity", "null", "~"),
    *("true", "yes", "None", "9" * 5000, "0x" + "f" * 6000, "99999999999999999999", "1_0", "1:30", "0o17", "1e-400"),
    *("[]", "{}", "[[[]]]", "&a [*a]", "*a", "&b", "<<", "!!bool x", "!!int ''", "!!binary x", "!!float x", "!!set {}"),
    *("!!python/object/apply:os.system [id]", "2001-99-99", "'", '"', "\\", "\t", "\r", "\x00", "\x1b[2J", "\x7f"),
    *(
        "\u202e",
        "狗",
        "é",
        "\U0001f600",
        "a" * 300,
        "[bold]",
        "[/]",
        "<script>alert(1)</script>",
        "../../../etc/passwd",
    ),
    *("/dev/zero", "/dev/stdin", "/proc/self/mem", "~root", "con", "a\nb", "%s%n", "{0}", ":smile:", "\ufeff", "="),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 7, 10**9, 10**20, -(10**20), 10**400, 0.0, -0.0, 0.5, -1.5, 1e-320, 1e308),
    *(float("nan"), float("inf"), -float("inf"), "", "x", "nan", "\x1b]0;x\x07", "[/]", "\ud800", "é狗", "a" * 3000),
    *([], {}, [[]], [None], {"": None}, [1, "x", None], {"a": {"b": []}}, [[[[[[[[]]]]]]]], "../x", "/dev/zero", "~"),
)


def mutate_text(rng: random.Random, text: str) -> str:
    """Damage lines and words."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        text = rng.choice(TEXT_DAMAGE)(rng, text)
    return text


def _lines(change: Callable[[random.Random, list[str]], None]) -> Callable[[random.Random, str], str]:
    def damage(rng: random.Random, text: str) -> str:
        lines = text.splitlines(keepends=True)
        if lines:
            change(rng, lines)
        return "".join(lines)

    return damage


def _drop(rng: random.Random, lines: list[str]) -> None:
    del lines[rng.randrange(len(lines))]


def _double(rng: random.Random, lines: list[str]) -> None:
    i = rng.randrange(len(lines))
    lines[i:i] = [lines[i]] * rng.choice((1, 1, 50))


def _swap(rng: random.Random, lines: list[str]) -> None:
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]


def _replace_word(rng: random.Random, text: str) -> str:
    starts = [i for i in range(len(text)) if text[i].isalnum() and (i == 0 or not text[i - 1].isalnum())]
    if not starts:
        return rng.choice(WORDS)
    start = rng.choice(starts)
    end = start
    while end < len(text) and (text[end].isalnum() or text[end] in "._"):
        end += 1
    return text[:start] + rng.choice(WORDS) + text[end:]


def _insert(rng: random.Random, text: str) -> str:
    i = rng.randrange(len(text) + 1)
    return text[:i] + rng.choice((*WORDS, "[" * 3000, "{a: " * 2000, "- " * 2000, "\n", " ", ":", ",")) + text[i:]


def _cut(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _delete(rng: random.Random, text: str) -> str:
    i = rng.randrange(len(text) + 1)
    return text[:i] + text[i + rng.choice((1, 1, 3, 20)) :]


TEXT_DAMAGE = (
    *(_lines(_drop), _lines(_double), _lines(_swap), _replace_word, _replace_word, _replace_word),
    *(_insert, _cut, _delete),
)


def encode_badly(rng: random.Random, text: str) -> bytes:
    """Write text as UTF-8 mostly, else in another encoding, or with bytes that are none."""
    if rng.random() < 0.75:
        return text.encode(errors="surrogatepass")
    way = rng.choice(("utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "gbk", "bytes"))
    if way == "bytes":
        return mutate_bytes(rng, text.encode(errors="surrogatepass"))
    return text.encode(way, errors="replace")


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """Damage bytes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        way = rng.randrange(8)
        i = rng.randrange(len(out) + 1) if rng.random() < 0.6 else rng.randrange(min(len(out), 600) + 1)
        if way == 0:
            del out[i:]
        elif way == 1 and i < len(out):
            out[i] ^= 1 << rng.randrange(8)
        elif way == 2:
            out[i : i + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))])
        elif way == 3:
            out[i : i + 4] = rng.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00" * 4, b"\x00\x00\x00\x80"))
        elif way == 4:
            out[i : i + 8] = rng.choice((b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\x00" * 8, b"\x00" * 6 + b"\x01\x00"))
        elif way == 5:
            out[i:i] = rng.randbytes(rng.choice((1, 4, 100)))
        elif way == 6:
            del out[i : i + rng.choice((1, 4, 100))]
        else:
            j = rng.randrange(len(out) + 1)
            out[i:i] = out[j : j + rng.choice((8, 64, 512))]
    return bytes(out)


def mutate_value(rng: random.Random, value: Any, *, count: int | None = None, values: tuple[Any, ...] = VALUES) -> Any:
    """Replace, drop, double or rename parts of nested lists and dictionaries, in a copy."""
    root = [copy.deepcopy(value)]
    for _ in range(count or rng.choice((1, 1, 1, 2, 3))):
        holder, key = _any_place(rng, root)
        way = rng.randrange(8)
        if way < 5:
            holder[key] = copy.deepcopy(rng.choice(values))
        elif way == 5 and holder is not root:
            del holder[key]
        elif way == 6 and isinstance(holder, dict):
            holder[rng.choice((*WORDS[:40], key + "x" if isinstance(key, str) else "x"))] = holder.pop(key)
        elif isinstance(holder, list) and holder is not root:
            holder.insert(key, copy.deepcopy(holder[key]))
        elif isinstance(holder[key], list | dict) and rng.random() < 0.3:
            nested: Any = holder[key]
            for _ in range(rng.choice((2, 150, 400))):
                nested = [nested]
            holder[key] = nested
    return root[0]


def _any_place(rng: random.Random, root: list[Any]) -> tuple[Any, Any]:
    """Choose a place; walk down at random, so that the top is met as often as the depths."""
    holder: Any = root
    key: Any = 0
    while isinstance(holder[key], list | tuple | dict) and holder[key] and (holder is root or rng.random() < 0.8):
        if isinstance(holder[key], tuple):
            holder[key] = list(holder[key])
        holder = holder[key]
        key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    return holder, key


def as_json(value: Any) -> bytes:
    """Write JSON, with values that JSON lacks as Python writes them."""
    try:
        return json.dumps(value, indent=1).encode(errors="surrogatepass")
    except (ValueError, RecursionError):
        return b"[" * 5000
