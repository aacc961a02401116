"""What the package index shows: README.md with absolute links, and the addresses of the project.

`repository` in `[tool.hatch.metadata.hooks.custom]` of pyproject.toml is the one place that states the address. While
it is empty, links to other files of the repository are plain text, and images with their captions, and sections that
list files, are left out, so that nothing is broken. So what a reader has to know is never in a caption alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

IMAGE = re.compile(r"!\[[^\]]*\]\((?!https?:)([^)]+)\)")
SECTION = re.compile(r"^(?=## )", re.MULTILINE)
LISTED = re.compile(r"^\| \[[^\]]*\]\((?!https?:|#)", re.MULTILINE)
"""A row of a table that begins with a link to another file."""
LINK = re.compile(r"\[((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\((?!https?:|#)([^)]+)\)")


class IndexMetadata(MetadataHookInterface):
    """Fills in `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set both, for the version that is built."""
        repository = self.config.get("repository", "").rstrip("/")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = index_page(text, repository, f"v{metadata['version']}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = addresses(repository, f"v{metadata['version']}")


def addresses(repository: str, tag: str) -> dict[str, str]:
    """The links beside the page; none while there is no repository."""
    if not repository:
        return {}
    return {
        "Source": repository,
        "Documentation": f"{repository}/tree/{tag}/docs",
        "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }


def index_page(text: str, repository: str, tag: str) -> str:
    """Let relative links of Markdown lead to the tagged files of a repository; without one, leave them out."""
    if repository:
        text = IMAGE.sub(lambda found: found[0].replace(f"]({found[1]}", f"]({repository}/raw/{tag}/{found[1]}"), text)
        return LINK.sub(lambda found: f"[{found[1]}]({repository}/blob/{tag}/{found[2]})", text)
    text = "".join(section for section in SECTION.split(text) if not LISTED.search(section))
    kept: list[str] = []
    after_image = False
    for paragraph in re.split(r"\n{2,}", text.strip()):
        is_caption = after_image and paragraph.startswith("*")
        after_image = bool(IMAGE.search(paragraph))
        if not (after_image or is_caption or LINK.fullmatch(paragraph)):
            kept.append(LINK.sub(r"\1", re.sub(rf" \({LINK.pattern}\)", "", paragraph)))
    return "\n\n".join(kept) + "\n"
