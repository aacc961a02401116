"""Text from files in Markdown."""

from __future__ import annotations

import re


def escaped(value: object) -> str:
    """Write text from files so that it is neither markup nor a cell of its own."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(value).split()))
