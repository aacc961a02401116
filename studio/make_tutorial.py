"""Write public/tutorial, the chapters of docs/tutorial*.md for the page: `python studio/make_tutorial.py`.

Needs Markdown, which regard[docs] includes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import markdown
from PIL import Image

HERE = Path(__file__).resolve().parent
DOCS, TUTORIAL = HERE.parent / "docs", HERE / "public" / "tutorial"
SOURCES = {"en": "tutorial.md", "zh": "tutorial.zh-TW.md"}
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MOST_SIDE, QUALITY = 720, 80


def chapters(text: str) -> list[dict[str, Any]]:
    """Split the tutorial into chapters, without what precedes them, and each into HTML and blocks of code."""
    found = []
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        pieces = FENCE.split(body)  # text, language, code, text, ...
        parts: list[dict[str, str]] = []
        for i in range(0, len(pieces), 3):
            if pieces[i].strip():
                parts.append({"html": _html(pieces[i])})
            if i + 2 < len(pieces):
                parts.append({"language": pieces[i + 1], "code": pieces[i + 2].rstrip("\n")})
        found.append({"title": title.strip(), "parts": parts})
    return found


def _html(text: str) -> str:
    html = markdown.markdown(text, extensions=["tables"])
    html = re.sub(r'<a href="(?!https://)[^"]*">(.*?)</a>', r"\1", html)
    html = html.replace('<a href="https://', '<a target="_blank" rel="noreferrer" href="https://')
    return re.sub(r'src="images/tutorial/(\w+)\.png"', r'src="tutorial/\1.webp"', html)


def written() -> dict[str, str]:
    """The text of each file, by language."""
    return {
        language: json.dumps(chapters((DOCS / name).read_text(encoding="utf-8")), ensure_ascii=False, indent=1) + "\n"
        for language, name in SOURCES.items()
    }


def main() -> None:
    """Write the chapters, and the images that they show."""
    TUTORIAL.mkdir(parents=True, exist_ok=True)
    for language, text in written().items():
        (TUTORIAL / f"{language}.json").write_text(text, encoding="utf-8")
        for name in re.findall(r'src=\\"tutorial/(\w+)\.webp', text):
            image = Image.open(DOCS / "images" / "tutorial" / f"{name}.png").convert("RGB")
            image.thumbnail((MOST_SIDE, MOST_SIDE))
            image.save(TUTORIAL / f"{name}.webp", quality=QUALITY)


if __name__ == "__main__":
    main()
