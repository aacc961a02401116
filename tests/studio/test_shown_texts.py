"""What the page is told: in its language, with its own controls, and with paths in the workspace."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

import numpy as np

import regard
from regard.drawing import encode_image
from regard.studio.language import CONTROLS, relative_texts, worded
from regard.system.translation import FOLDER, read_catalogue

CATALOGUE = read_catalogue(FOLDER / "zh_TW" / "LC_MESSAGES" / "regard.mo")
TEXTS = {"en": "\n\n".join(CATALOGUE), "zh": "\n\n".join(CATALOGUE.values())}
EXAMPLES = (
    "x; give its options by -a (in Python: options=)",
    "write it with --ungated (ungated=True) for the network without gates, or use the native form",
    "insert it with gate: false (--no-gate; in Python: gate=False)",
    "insert it behind a gate, or write it in the native form (--to native)",
    "a gradient map (--kind gradient; in Python: kind='gradient') works for any layer",
    "rename the classes in the data; with --single-cls (in Python: single_cls=True) only boxes count",
    "give weights as a separate option: --weights FILE (in Python: weights=)",
)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_pattern_is_of_a_message(language: str) -> None:
    """A message that was reworded needs a new pattern."""
    unused = [pattern for pattern, _ in CONTROLS[language] if not re.search(pattern, TEXTS[language])]
    assert unused == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("text", EXAMPLES)
def test_messages_name_controls_of_the_page(text: str, language: str) -> None:
    shown = worded(text, language)
    assert not re.search(r"--[a-z]|Python|(^|\s)-a\s|=True", shown), shown
    assert re.search("[⺀-鿿]", shown) if language == "zh" else shown


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_named_controls_are_on_the_page(language: str) -> None:
    words = Path(__file__).resolve().parents[2] / "studio" / "src" / {"en": "english.ts", "zh": "chinese.ts"}[language]
    text, quotes = words.read_text(encoding="utf-8"), {"en": '"([^"]+)"', "zh": "「([^」]+)」"}[language]
    named = {label for _, control in CONTROLS[language] for label in re.findall(quotes, control)}
    assert named
    assert [label for label in named if label not in text] == []


def test_paths_are_those_in_the_workspace(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    relative = relative_texts(root)
    found = relative(
        {"a": [f"{root}/runs/a", str(root), f"'{root}': no", f"{root}2/b", f"x{root}/b", 3], "b": math.nan}
    )
    assert found == {"a": ["runs/a", ".", "'.': no", f"{root}2/b", f"x{root}/b", 3], "b": None}
    assert relative_texts(Path("/"))("/a/b") == "/a/b"


def test_errors_name_files_in_the_workspace(studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    (studio.workspace / "runs" / "two").mkdir(parents=True)
    (studio.workspace / "runs" / "two" / "start.safetensors").write_bytes(b"x")
    fault = studio.post("train", status=422, name="two", data="synthetic:context")
    assert fault["file"] == "runs/two/start.safetensors"
    (studio.workspace / "deep").mkdir()
    (studio.workspace / "deep" / "a.yaml").write_text("backbone: 3\n")
    assert studio.post("open", status=422, source="deep/a.yaml")["file"] == "deep/a.yaml"
    answer = studio.client.post("/api/open", headers=studio.headers, json={"source": "nothing.pt"})
    assert str(studio.workspace) not in answer.text


def test_what_is_shown_names_no_folder_of_the_machine(studio: Any) -> None:
    regard.save(regard.load("odd-one-out"), studio.workspace / "a.safetensors")
    studio.bench.open_model(studio.workspace / "a.safetensors", str(studio.workspace / "a.safetensors"))
    studio.post("edit", kind="insert", layer="p4", module="SE")
    run = studio.workspace / "runs" / "one"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"data": {"source": str(studio.workspace / "bccd")}}))
    (run / "studio.log").write_text(f"writes {run}\n")
    for path in ("state", "files", "runs", "jobs", "settings/train", "version"):
        assert str(studio.workspace) not in json.dumps(studio.get(path)), path
    assert studio.get("state")["source"] == "a.safetensors"


def test_titles_of_maps_are_in_the_language_of_the_page(studio: Any) -> None:
    studio.post("open", source="odd-one-out-se")
    studio.post("edit", kind="insert", layer="p4", module="SelfAttention")
    image = studio.upload(encode_image(np.full((64, 96, 3), 90, np.uint8), ".png"))["key"]
    layers = [name for node in studio.get("state")["diagram"]["nodes"] for name in node["attention"]]
    headers = {**studio.headers, "accept-language": "zh-TW"}
    seen = []
    for kind in ("map", "features"):
        for layer in layers:
            asked = {"image": image, "layer": layer, "kind": kind, "x": 40, "y": 30}
            found = studio.client.post("/api/attend", headers=headers, json=asked).json()
            seen += [found["title"], *(grid["heading"] for grid in found["grids"])]
            assert not re.search("[⺀-鿿]", studio.post("attend", **asked)["title"])
    assert [text for text in seen if not re.search("[⺀-鿿]", text)] == []
