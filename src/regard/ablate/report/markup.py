"""HTML and SVG from nested calls; whatever is not markup already is escaped."""

from __future__ import annotations

from html import escape

VOID = frozenset({"meta", "img", "br"})


class Markup(str):
    """Text that is markup, not to be escaped again."""

    __slots__ = ()


def tag(name: str, /, *children: str | None, **attributes: str | float | None) -> Markup:
    """Return an element.

    Args:
        name: such as "p".
        children: markup, text (escaped), or None (left out).
        attributes: ``class_`` stands for class, ``_`` within a name for ``-``; None leaves one out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: str | None) -> Markup:
    """Return children one after another, escaped where they are not markup."""
    return Markup("".join(c if isinstance(c, Markup) else escape(c) for c in children if c is not None))


def _value(value: str | float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
