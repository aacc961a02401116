"""Edits of a model in one word: ``SE@sppf``, ``SE(ratio=8)@sppf``, and several at once, ``SE@p4+ECA@p5``.

A variant may have a name of its own before them: ``small=SE(ratio=8)@sppf``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from regard.errors import RegardError
from regard.graph import edit as graph_edit
from regard.graph.spec import ModelSpec

EDIT = re.compile(r"(?P<module>[^\W\d][\w.]*)\s*(\((?P<options>.*)\))?\s*@\s*(?P<layer>[\w.-]+)")
NAMED = re.compile(r"\s*(?P<name>[^\W\d][\w.-]*)\s*=(?P<edits>.*\S.*)", re.DOTALL)
EXPECTED = "MODULE@LAYER with options in brackets where wanted, as SE@sppf, SE(ratio=8)@sppf or SE@p4+ECA@p5"


@dataclass(frozen=True)
class Edit:
    """One insertion or replacement.

    Attributes:
        module: name of the new layer's class.
        layer: after which layer it is inserted, or which it replaces.
        options: arguments of the module by name.
    """

    module: str
    layer: str
    options: Mapping[str, Any] = field(default_factory=dict)


def parse_variant(text: str) -> tuple[str, tuple[Edit, ...]]:
    """Read a variant: its own name, or else its edits without spaces, and the edits.

    Raises:
        RegardError: it is not of this form.
    """
    name, edits = split_name(text)
    return name or "".join(edits.split()), parse_edits(edits)


def split_name(text: str) -> tuple[str, str]:
    """Return the name before the edits of a variant, "" if there is none, and the edits as written."""
    match = NAMED.fullmatch(text)
    return (match["name"], match["edits"].strip()) if match else ("", text)


def parse_edits(text: str) -> tuple[Edit, ...]:
    """Read what a variant's notation says.

    Raises:
        RegardError: it is not of this form.
    """
    return tuple(_parse(part, text) for part in _split(text, "+"))


def apply_insertions(spec: ModelSpec, edits: tuple[Edit, ...], *, gate: bool) -> ModelSpec:
    """Return ``spec`` with a layer inserted for each edit; see ``regard.graph.edit.insert``."""
    for edit in edits:
        spec = graph_edit.insert(spec, edit.module, after=edit.layer, options=edit.options, gate=gate)
    return spec


def apply_replacements(spec: ModelSpec, edits: tuple[Edit, ...]) -> ModelSpec:
    """Return ``spec`` with a layer replaced for each edit; see ``regard.graph.edit.replace_layer``."""
    for edit in edits:
        spec = graph_edit.replace_layer(spec, edit.layer, edit.module, options=edit.options)
    return spec


def _parse(part: str, whole: str) -> Edit:
    match = EDIT.fullmatch(part.strip())
    if match is None:
        raise RegardError(f"{whole!r} says no edit", expected=EXPECTED)
    return Edit(match["module"], match["layer"], dict(_option(o, whole) for o in _split(match["options"] or "", ",")))


def _option(text: str, whole: str) -> tuple[str, Any]:
    name, equals, value = (piece.strip() for piece in text.partition("="))
    if not equals or not name.isidentifier():
        raise RegardError(f"{whole!r}: {text.strip()!r} is no option", expected="name=value, as ratio=8")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RegardError(f"{whole!r}: {value!r} cannot be read", expected="a number, word or [list]") from error


def _split(text: str, separator: str) -> list[str]:
    """Split at a character where no bracket is open; nothing out of nothing."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts if text.strip() else []
