"""Kinds of files of later families and other tools, and the commands that came with them; see ``kinds``."""

from __future__ import annotations

import pickletools
import random
import shutil
from collections.abc import Mapping
from pathlib import Path

from kinds import Argv, Kind, damage_json, damaged_yaml, model_yaml, pickled_checkpoint, safetensors, with_pickle
from later_corpus import GRAPHS
from mutate import encode_badly, mutate_bytes, mutate_text


def later_checkpoint(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """A .pt of YOLOv8, 11, 12 or 26: damaged bytes, or a damaged pickle in a sound archive."""
    sound = (corpus / f"{rng.choice(sorted(GRAPHS))}.pt").read_bytes()
    way = rng.random()
    if way < 0.25:
        data = mutate_bytes(rng, sound)
    elif way < 0.6:
        data = with_pickle(sound, lambda old: mutate_bytes(rng, old))
    else:
        data = with_pickle(sound, lambda old: _other_values(rng, old))
    (folder / "weights.pt").write_bytes(data)
    return ("summary", "weights.pt", "--imgsz", "64")


def _other_values(rng: random.Random, data: bytes) -> bytes:
    """Change words and small integers of a pickle, which remains a pickle."""
    words = (b"", b"Conv", b"Detect", b"model", b"-1", b"nn.Upsample", b"[/]\x1b", b"weight", b"9" * 400)
    for _ in range(rng.choice((1, 1, 2, 4))):
        values = [(op.name, at) for op, _, at in pickletools.genops(data) if op.name in ("BINUNICODE", "BININT1")]
        name, at = rng.choice(values)
        if name == "BININT1":
            data = data[: at + 1] + bytes([rng.choice((0, 1, 2, 3, 7, 64, 255))]) + data[at + 2 :]
        else:
            end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "little")
            word = rng.choice(words)
            data = data[: at + 1] + len(word).to_bytes(4, "little") + word + data[end:]
    return data


def later_graph(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """A model YAML in the form of YOLOv8 and later."""
    sound = (corpus / f"{rng.choice(sorted(GRAPHS))}.yaml").read_text()
    (folder / "yolo11n.yaml").write_bytes(damaged_yaml(rng, sound))
    return ("summary", "yolo11n.yaml", "--imgsz", "64")


def linted(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """Model files of all forms in a folder that is linted."""
    (folder / "models").mkdir()
    names = rng.sample((*(f"{name}.yaml" for name in GRAPHS), "tiny.yaml", "integer.yaml", "overlay.yaml"), 3)
    for i, name in enumerate(names):
        sound = (corpus / name).read_text()
        (folder / "models" / name).write_bytes(damaged_yaml(rng, sound) if i else sound.encode())
    return ("lint", *rng.choice((("models",), ("models/*.yaml",))), "--format", rng.choice(("text", "github", "json")))


def other_tools(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """The file of another labelling tool."""
    source = rng.choice(sorted((corpus / "foreign").iterdir()))
    shutil.copytree(source, folder / "set")
    file = rng.choice(sorted(path for path in (folder / "set").rglob("*") if path.suffix != ".png" and path.is_file()))
    _damage(rng, file)
    return ("data", "check", "set")


def _damage(rng: random.Random, file: Path) -> None:
    if file.suffix == ".json":
        damage_json(rng, file)
    else:
        file.write_bytes(encode_badly(rng, mutate_text(rng, file.read_text())))


def converted(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """A data set of any form that is converted."""
    name = rng.choice(("yolo", "coco", "voc", "foreign"))
    source = rng.choice(sorted((corpus / name).iterdir())) if name == "foreign" else corpus / name
    shutil.copytree(source, folder / "set")
    files = [path for path in (folder / "set").rglob("*") if path.is_file()]
    file = rng.choice(sorted(files))
    if file.suffix in (".png", ".jpg"):
        file.write_bytes(mutate_bytes(rng, file.read_bytes()))
    else:
        _damage(rng, file)
    return ("data", "convert", "set", "made", "--to", rng.choice(("yolo", "coco")))


def converted_model(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """A model file of any form that is written for another package, or in the present form."""
    damage = rng.choice((later_checkpoint, later_graph, pickled_checkpoint, safetensors, model_yaml))
    file = damage(rng, folder, corpus)[1]
    to = rng.choice(("native", "ultralytics", "yolov5"))
    output = rng.choice(("made.safetensors", "made.yaml" if to == "native" else "made"))
    return ("convert", file, "--to", to, "-o", output)


KINDS: Mapping[str, Kind] = {
    "later pt": later_checkpoint,
    "later model": later_graph,
    "lint": linted,
    "other tools": other_tools,
    "convert": converted,
    "convert model": converted_model,
}
"""The kinds that came later, by name."""
