"""The page in the package is the build of the sources next to it, and loads nothing from elsewhere."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts import load_script

pytest.importorskip("fastapi")

from regard.studio.app import PAGE

SOURCES = Path(__file__).resolve().parents[2] / "studio"
NODE = shutil.which("node") and (SOURCES / "node_modules").is_dir()
pytestmark = pytest.mark.skipif(not SOURCES.is_dir(), reason="the sources of the page are not there")


def test_the_page_is_the_build_of_these_sources() -> None:
    files = [f"src/{file.name}" for file in (SOURCES / "src").iterdir()]
    digest = hashlib.sha256()
    for name in sorted([*files, "index.html", "package-lock.json", "vite.config.ts"]):
        digest.update(name.encode() + b"\0" + (SOURCES / name).read_bytes() + b"\0")
    built = (PAGE / "sources.sha256").read_text().strip()
    assert built == digest.hexdigest(), "run `npm run build` in the folder studio"


def test_the_types_of_the_page_are_those_of_the_server() -> None:
    types = load_script("studio/make_types.py").written()
    assert (SOURCES / "src" / "types.ts").read_text() == types, "run `python studio/make_types.py`"


def test_the_chapters_are_those_of_the_tutorial() -> None:
    pytest.importorskip("markdown")
    for language, text in load_script("studio/make_tutorial.py").written().items():
        file = PAGE / "tutorial" / f"{language}.json"
        assert file.read_text(encoding="utf-8") == text, "run `python studio/make_tutorial.py`, then `npm run build`"
        for image in re.findall(r'src=\\"(tutorial/[^"\\]*)', text):
            assert (PAGE / image).is_file(), image


def test_nothing_is_loaded_from_elsewhere() -> None:
    html = (PAGE / "index.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!/|data:,)[^"]*"', html)
    assert "url(http" not in (PAGE / "studio.css").read_text()
    assert "@import" not in (PAGE / "studio.css").read_text()


def test_the_lock_file_names_no_host() -> None:
    assert '"resolved"' not in (SOURCES / "package-lock.json").read_text()


@pytest.mark.skipif(not NODE, reason="Node or the packages of the page (npm ci) are not there")
def test_the_parts_of_the_page() -> None:
    done = subprocess.run(["npm", "test"], cwd=SOURCES, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
