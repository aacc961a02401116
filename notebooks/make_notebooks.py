"""Writes the notebooks in both languages from one source each, so that their code is the same: run it after a change.

A source is a Python file. ``# %%`` begins a cell of code, ``# %% [en]`` a text in English and ``# %% [zh-TW]`` the same
text in Chinese, each as comments. A notebook ``NAME.ipynb`` is the English one, ``NAME.zh-TW.ipynb`` the Chinese one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LANGUAGES = {"en": "", "zh-TW": ".zh-TW"}
"""Languages, and what the names of their files have before the suffix."""
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def cells(source: str) -> Iterator[tuple[str, str]]:
    """Split a source into cells: a language, or "code", and the content."""
    for part in re.split(r"^# %%", source, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        body = body.strip("\n")
        if language := head.strip(" []"):
            yield language, "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.splitlines())
        else:
            yield "code", body


def notebook(source: str, language: str) -> dict[str, Any]:
    """Make the notebook of a language."""
    made = []
    for i, (kind, text) in enumerate(cells(source)):
        if kind not in ("code", *LANGUAGES):
            raise ValueError(f"unknown kind of cell: {kind}")
        common = {"id": f"cell-{i}", "metadata": {}, "source": text.splitlines(keepends=True)}
        if kind == "code":
            made.append({"cell_type": "code", "execution_count": None, "outputs": [], **common})
        elif kind == language:
            made.append({"cell_type": "markdown", **common})
    return {"cells": made, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}


def notebooks() -> Iterator[tuple[Path, str]]:
    """Make all notebooks: the file and its content."""
    for file in sorted((HERE / "source").glob("*.py")):
        source = file.read_text(encoding="utf-8")
        for language, middle in LANGUAGES.items():
            text = json.dumps(notebook(source, language), ensure_ascii=False, indent=1, sort_keys=True)
            yield HERE / f"{file.stem}{middle}.ipynb", text + "\n"


if __name__ == "__main__":
    for path, content in notebooks():
        path.write_text(content, encoding="utf-8", newline="\n")
