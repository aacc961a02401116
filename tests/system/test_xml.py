"""XML of strangers: elements, or one error with a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from regard.errors import RegardError
from regard.system.xml import read_xml


def written(folder: Path, content: bytes) -> Path:
    file = folder / "file"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("encoding", ["big5", "gbk", "shift_jis", "euc-kr", "utf-8", "iso-8859-1", "utf-16"])
def test_xml_is_read_in_every_encoding_it_may_declare(tmp_path: Path, encoding: str) -> None:
    name = {"iso-8859-1": "é", "euc-kr": "개", "shift_jis": "犬"}.get(encoding, "狗")
    text = f"<?xml version='1.0' encoding='{encoding}'?>\n<a><b>{name}</b></a>"
    assert read_xml(written(tmp_path, text.encode(encoding))).findtext("b") == name


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<a>",
        b"\xff\xfe<",
        b"<?xml version='1.0' encoding='hex'?><a/>",
        b"<?xml version='1.0' encoding='no-such'?><a/>",
        b"<?xml version='1.0' encoding='gbk'?><a>\xff\xff</a>",
        b"<!DOCTYPE a [<!ENTITY b 'bbbb'><!ENTITY c '&b;&b;'>]><a>&c;</a>",
        "<!DOCTYPE a [<!ENTITY b 'bbbb'>]><a>&b;</a>".encode("utf-16"),
        "<!DOCTYPE a [<!ENTITY b 'bbbb'>]><a>&b;</a>".encode("utf-16-be"),
        b"<a>\x00</a>",
    ],
)
def test_what_xml_cannot_be_is_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RegardError) as caught:
        read_xml(written(tmp_path, content))
    str(caught.value).encode()  # it can be printed
