"""Loaders of untrusted text: plain values or one error with a line, for any content."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from regard.errors import RegardError
from regard.system.loaders import (
    parse_csv,
    parse_json,
    parse_yaml,
    read_bytes,
    read_json,
    read_text,
    read_yaml,
)


def error_of(call, *args) -> RegardError:
    with pytest.raises(RegardError) as caught:
        call(*args)
    str(caught.value).encode()  # it can be printed
    return caught.value


def written(folder: Path, content: bytes) -> Path:
    file = folder / "file"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: ]", 2),
        ("a: 1\na: 2", 2),
        ("a: !!bool maybe", 1),
        ("x: 1\na: !!int ''", 2),
        ("a: !!float x", 1),
        ("a: !!timestamp x", 1),
        ("a: !!binary x", 1),
        ("a: !!python/object/apply:os.system [id]", 1),
        ("a: !!set {x}", 1),
        ("? [x]\n: 1", 1),
        ("a: " + "9" * 5000, 1),
        ("a: 0x" + "f" * 5000, 1),
        ("a: 1\nb: " + "[" * 20000, 2),
        ("a: 1\nb: " + "{a: " * 20000, 2),
        ("a: &x [*x]", 1),
        ("a: &x {b: *x}", 1),
        ("a\x00b", 1),
        ("a: \ud800", 1),
        ('a: "\\ud800"', 1),
        ("--- a\n--- b\n", 2),
    ],
)
def test_what_yaml_cannot_be_is_an_error_with_its_line(text: str, line: int) -> None:
    assert error_of(parse_yaml, text, None).line == line


def test_aliases_count_as_all_that_they_stand_for() -> None:
    lists = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lists += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    start = time.monotonic()
    assert error_of(parse_yaml, "\n".join(lists), None).line == 6
    chain = "\n".join(["- &b0 [1]", *(f"- &b{i} [*b{i - 1}]" for i in range(1, 5000))])
    assert "nested" in error_of(parse_yaml, chain, None).what
    assert time.monotonic() - start < 5
    assert parse_yaml("a: &x [1, 2]\nb: *x", None)[0] == {"a": [1, 2], "b": [1, 2]}


def test_dates_and_equal_signs_are_text_and_merges_work() -> None:
    value, lines = parse_yaml("a: 2001-01-01\nb: =\nc: &c {k: 1}\nd:\n  <<: *c\n  m: .5\n", None)
    assert value == {"a": "2001-01-01", "b": "=", "c": {"k": 1}, "d": {"k": 1, "m": 0.5}}
    assert (lines["d", -1], lines["d", 1]) == (4, 6)
    assert parse_yaml("", None) == (None, {})


@pytest.mark.parametrize(
    ("text", "line"), [('{"a":\n1,}', 2), ("[" * 200_000, None), ("", 1), ("nul", 1), ('"a\nb"', 1)]
)
def test_what_json_cannot_be_is_an_error(text: str, line: int | None) -> None:
    assert error_of(parse_json, text, Path("x.json")).line == line


def test_json_numbers_and_text_are_made_printable() -> None:
    value = parse_json('{"\\ud800k": ["\\udfff", "\\ud83d\\ude00", 18446744073709551615, -7]}', None)
    assert value == {"\ufffdk": ["\ufffd", "\U0001f600", 2**64 - 1, -7]}
    repr(value).encode()
    deep = '{"a":' * 300 + '"\\ud800"' + "}" * 300
    assert "\ufffd" in str(parse_json(deep, None))


@pytest.mark.parametrize("text", ['{"a": 1, "b": 2, "a": 1}', '[{"c": {"a": 1, "\\u0061": 2}}]'])
def test_json_has_each_key_once(text: str) -> None:
    assert "'a' is repeated" in error_of(parse_json, text, None).what


@pytest.mark.parametrize("digits", ["9" * 5000, "18446744073709551616", "-18446744073709551616", "1" + "0" * 25])
def test_json_has_no_number_that_would_change(digits: str) -> None:
    assert "64 bits" in error_of(parse_json, f'{{"id": {digits}}}', None).what
    assert parse_json("[18446744073709551615, 1e400, -0]", None) == [2**64 - 1, float("inf"), 0]


def test_tables_have_lines_of_any_system_and_cells_of_bounded_length() -> None:
    assert parse_csv('a;"b\nc"\rd;e\r\nf\n', Path("x.csv"), ";") == [["a", "b\nc"], ["d", "e"], ["f"]]
    assert error_of(parse_csv, "a,b\nc," + "x" * 200_000, Path("x.csv")).line == 2


def test_text_may_be_utf8_or_utf16_with_a_mark(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert read_text(written(tmp_path, "é\n".encode(encoding))) == "é\n"
    assert error_of(read_text, written(tmp_path, b"a\nb\nc\xe9")).line == 3
    assert read_yaml(written(tmp_path, "a: é".encode("utf-16")))[0] == {"a": "é"}
    assert read_json(written(tmp_path, b"\xef\xbb\xbf[1]")) == [1]


def test_only_regular_files_within_the_bound_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "missing", tmp_path / ("x" * 5000)):
        error_of(read_bytes, path, 10)
    error_of(read_bytes, Path("a\0b"), 10)
    error_of(read_bytes, written(tmp_path, b"x" * 11), 10)
    assert read_bytes(written(tmp_path, b"x" * 10), 10) == b"x" * 10
    if Path("/proc/self/maps").exists():  # the kernel says that it has 0 bytes
        error_of(read_bytes, Path("/proc/self/maps"), 10)


@pytest.mark.parametrize("text", ["1: a\n01: b", "1: a\n0x1: b", "true: a\nyes: b", "a: 1\n'a': 2"])
def test_keys_that_mean_the_same_are_repeated_keys(text: str) -> None:
    with pytest.raises(RegardError, match="repeated"):
        parse_yaml(text, None)


def test_more_values_than_can_be_read_in_seconds_are_an_error() -> None:
    with pytest.raises(RegardError, match="too many values"):
        parse_yaml("- 1\n" * 450_000, None)


@pytest.mark.parametrize(
    "text",
    [
        *("nc: 1" + ":00" * 300_000, "nc: 1" + ":00" * 300_000 + ".5", 'nc: !!int "1' + ":00" * 300_000 + '"'),
        "".join(f"%TAG !a{i}! b\n" for i in range(50_000)) + "---\nnc: 1",
        f"%TAG !a! {'b' * 50_000}\n---\nnc: [{'!a!x 1,' * 20_000}]",
        f"\ufeff\ufeff%TAG !a! {'b' * 50_000}\n---\nnc: [{'!a!x 1,' * 20_000}]",
        f"nc: !<{'b' * 500}> 1",
        *(f"nc: {sign}{'1' * 500}" for sign in ("", "0x", "0.", "-")),
    ],
)
def test_what_yaml_reads_in_quadratic_time_is_rejected_at_once(text: str) -> None:
    began = time.process_time()
    assert error_of(parse_yaml, text, None).line == 1
    assert time.process_time() - began < 2


def test_the_rows_of_a_table_are_bounded(tmp_path: Path) -> None:
    assert len(parse_csv("\n" * 7, tmp_path, most=7)) == 7
    assert error_of(lambda: parse_csv("\n" * 9, tmp_path, most=7)).line == 8


def test_a_repeated_key_among_many_is_found_in_linear_time() -> None:
    began = time.process_time()
    text = ", ".join(f'"k{i}": 0' for i in (*range(50_000), 49_999))
    assert "k49999" in error_of(parse_json, f"{{{text}}}", None).what
    assert time.process_time() - began < 2


def test_a_fault_at_the_end_has_the_last_line_of_the_file() -> None:
    with pytest.raises(RegardError) as caught:
        parse_yaml("nc: 2\nbackbone: [1,\n", None)
    assert caught.value.line == 2
