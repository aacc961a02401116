"""Reading untrusted XML: bounded in size, in a known encoding, without entities; errors with file and line."""

from __future__ import annotations

import codecs
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from regard.errors import RegardError
from regard.system.loaders import BOMS, read_bytes

MOST_XML = 16 * 2**20
"""Largest file that is read, in bytes."""

ENCODINGS = frozenset(
    (
        *("ascii", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "koi8-r", "koi8-u", "mac-roman"),
        *(f"iso8859-{i}" for i in range(1, 17)),
        *(f"cp{i}" for i in (437, 850, 866, 874, 932, 936, 949, 950, *range(1250, 1259))),
        *("big5", "big5hkscs", "gbk", "gb2312", "gb18030", "shift_jis", "euc_jp", "euc_kr", "johab", "iso2022_jp"),
    )
)
"""Encodings that an XML declaration may name, as ``codecs.lookup(name).name`` writes them."""

_DECLARATION = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']""")


def read_xml(file: Path, *, plain: bool = False) -> ET.Element:
    """Read an XML file in any encoding of ``ENCODINGS``; entities are not defined.

    Args:
        file: the file.
        plain: whether it must be UTF-8 without CDATA and DOCTYPE, which every parser reads alike.

    Raises:
        RegardError: the file cannot be read, is not XML, is too large, or defines entities; or it is not plain.
    """
    content = read_bytes(file, MOST_XML)
    declared = _DECLARATION.match(content[:1000])
    if plain and not _is_plain(content, declared[1] if declared else b"utf-8"):
        raise RegardError("not plain XML", file=file, expected="UTF-8 without CDATA and DOCTYPE")
    try:
        text: str | bytes = content
        if declared and not content.startswith(tuple(bom for bom, _ in BOMS)):
            text = content.decode(_xml_encoding(declared[1].decode()))
        else:
            text = _in_two_bytes(content)
        if (b"<!ENTITY" in content) or (isinstance(text, str) and "<!ENTITY" in text):
            raise RegardError("the XML defines entities", file=file, expected="plain elements")
        return ET.fromstring(text)
    except ET.ParseError as error:
        raise RegardError(f"not valid XML: {error.msg}", file=file, line=error.position[0]) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RegardError(f"not valid XML: not in {error.encoding}, as declared", file=file, line=line) from error
    except (LookupError, ValueError, RecursionError) as error:
        raise RegardError(f"not valid XML: {error}", file=file, line=1) from error


def _is_plain(content: bytes, encoding: bytes) -> bool:
    started = not content.lstrip().startswith(b"<?xml") or content[:5] == b"<?xml"
    unusual = any(mark in content for mark in (b"\0", b"<![CDATA[", b"<!DOCTYPE"))
    return started and not unusual and encoding.lower() == b"utf-8" and content.lstrip()[:1] == b"<"


def _in_two_bytes(content: bytes) -> str | bytes:
    """XML in UTF-16, which expat recognises without a declaration, as text; all else as it is."""
    starts = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
    found = next((encoding for start, encoding in starts.items() if content.startswith(start)), None)
    return content if found is None else content.decode(found)


def _xml_encoding(name: str) -> str:
    known = codecs.lookup(name).name
    if known not in ENCODINGS:
        raise LookupError(f"unknown encoding {name!r}")
    return known
