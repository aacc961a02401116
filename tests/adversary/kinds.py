"""The kinds of files that ``regard`` reads, each with a way to damage a sound one and a command that reads the result.

A kind is a function (rng, folder, corpus) -> arguments of ``regard``; it writes its damaged files into the folder. For
the same seed it writes the same.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import re
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
import yaml
from mutate import VALUES, as_json, encode_badly, mutate_bytes, mutate_text, mutate_value

Argv: TypeAlias = tuple[str, ...]
Kind: TypeAlias = Callable[[random.Random, Path, Path], Argv]

MARKER = "executed"
"""A file of this name, in the folder of a case, says that code in a damaged file has run."""


def pickled_checkpoint(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """A YOLOv5 .pt: damaged bytes, a damaged pickle in a sound archive, or one that calls what it likes."""
    sound = (corpus / "forged.pt").read_bytes()
    way = rng.random()
    if way < 0.35:
        data = mutate_bytes(rng, sound)
    elif way < 0.8:
        data = with_pickle(sound, lambda old: mutate_bytes(rng, old))
    elif way < 0.9:
        data = with_pickle(sound, lambda _: _attack(rng))
    else:
        data = _saved(mutate_value(rng, {"model": {"model.0.conv.weight": [1.0], "x": {"y": [1]}}, "epoch": 1}))
    (folder / "weights.pt").write_bytes(data)
    return ("summary", "weights.pt")


def with_pickle(archive: bytes, change: Callable[[bytes], bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info.filename, change(data) if info.filename.endswith("data.pkl") else data)
    return out.getvalue()


def _attack(rng: random.Random) -> bytes:
    call = b"(X" + struct.pack("<I", len(MARKER) + 6) + b"touch " + MARKER.encode() + b"tR."
    bombs = (
        b"\x80\x02]q\x00" + b"(h\x00h\x00h\x00h\x00e0h\x00" * 2000 + b".",
        b"\x80\x02" + b"(" * 100_000 + b".",
        b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
        b"\x80\x02K\x01" + b"\x85" * 100_000 + b".",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a.",
        b"\x80\x02T" + struct.pack("<i", 2**31 - 1) + b"a.",
        b"\x80\x02\x8b" + struct.pack("<i", 60_000) + b"\xff" * 60_000 + b".",
        b"I" + b"9" * 100_000 + b"\n.",
        b"F" + b"9" * 100_000 + b"\n.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00(Mtt\x85tR.",
    )
    calls = tuple(name + call for name in (b"cos\nsystem\n", b"cposix\nsystem\n", b"csubprocess\ngetoutput\n"))
    return rng.choice((*bombs, *calls))


def _saved(value: Any) -> bytes:
    out = io.BytesIO()
    try:
        torch.save(value, out)
    except (RecursionError, pickle.PicklingError, RuntimeError):
        torch.save({}, out)
    return out.getvalue()


def safetensors(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """Weights of regard: damaged bytes, or a damaged header with the tensors behind it."""
    sound = (corpus / "run" / "best.safetensors").read_bytes()
    if rng.random() < 0.3:
        data = mutate_bytes(rng, sound)
    else:
        size = int.from_bytes(sound[:8], "little")
        header = json.loads(sound[8 : 8 + size])
        own = json.loads(header["__metadata__"]["regard"])
        way = rng.random()
        if way < 0.4:
            own = mutate_value(rng, own)
        elif way < 0.8 and isinstance(own, dict):
            own["graph"] = mutate_text(rng, own["graph"])
        if way < 0.8:
            header["__metadata__"]["regard"] = as_json(own).decode(errors="replace")
        else:
            header = mutate_value(rng, header)
        text = as_json(header)
        data = len(text).to_bytes(8, "little") + text + sound[8 + size :]
    (folder / "weights.safetensors").write_bytes(data)
    return ("summary", "weights.safetensors")


def model_yaml(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """A model graph in the native form or YOLOv5's, or an overlay on one."""
    shutil.copy(corpus / "tiny.yaml", folder / "tiny.yaml")
    sound = (corpus / rng.choice(("tiny.yaml", "integer.yaml", "overlay.yaml"))).read_text()
    (folder / "model.yaml").write_bytes(damaged_yaml(rng, sound))
    return ("summary", "model.yaml", "--imgsz", "64")


def damaged_yaml(rng: random.Random, sound: str) -> bytes:
    if rng.random() < 0.6:
        return encode_badly(rng, mutate_text(rng, sound))
    try:
        text = yaml.safe_dump(mutate_value(rng, yaml.safe_load(sound)), allow_unicode=True)
    except (yaml.YAMLError, ValueError, RecursionError):
        text = mutate_text(rng, sound)
    return encode_badly(rng, text)


def data_yaml(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """The data.yaml of a YOLO data set."""
    shutil.copytree(corpus / "yolo", folder / "yolo")
    (folder / "yolo" / "data.yaml").write_bytes(damaged_yaml(rng, (corpus / "yolo" / "data.yaml").read_text()))
    return ("data", "check", rng.choice(("yolo", "yolo/data.yaml")))


def labels(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """A label file of a YOLO data set."""
    shutil.copytree(corpus / "yolo", folder / "yolo")
    file = folder / "yolo" / "labels" / "train" / f"{rng.randrange(2)}.txt"
    file.write_bytes(encode_badly(rng, mutate_text(rng, file.read_text())))
    return ("data", "check", "yolo")


def coco(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """A COCO JSON file."""
    shutil.copytree(corpus / "coco", folder / "coco")
    damage_json(rng, folder / "coco" / "annotations" / f"instances_{rng.choice(('train', 'val'))}.json")
    return ("data", "check", "coco")


def damage_json(rng: random.Random, file: Path, values: tuple[Any, ...] = VALUES) -> None:
    if rng.random() < 0.7:
        file.write_bytes(as_json(mutate_value(rng, json.loads(file.read_text()), values=values)))
    else:
        file.write_bytes(encode_badly(rng, mutate_text(rng, file.read_text())))


def voc(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """An XML file of a VOC data set, or one of its lists."""
    shutil.copytree(corpus / "voc", folder / "voc")
    file = folder / "voc" / "Annotations" / "0.xml"
    if rng.random() < 0.1:
        file = folder / "voc" / "ImageSets" / "Main" / "train.txt"
    text = mutate_text(rng, file.read_text())
    if rng.random() < 0.3:
        names = ("big5", "gbk", "shift_jis", "euc-kr", "utf-16", "utf-7", "hex", "rot13", "idna", "x" * 50, "ascii")
        text = text.replace('encoding="utf-8"', f'encoding="{rng.choice(names)}"')
    file.write_bytes(encode_badly(rng, text))
    return ("data", "check", "voc")


def images(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """An image that is predicted on, or in a data set; now and then under a name that is no UTF-8."""
    file = rng.choice(sorted((corpus / "images").iterdir()))
    data = mutate_bytes(rng, file.read_bytes())
    if rng.random() < 0.2 and file.suffix == ".png":
        data = data[:16] + struct.pack(">II", *(rng.choice((0, 1, 30_000, 2**31 - 1)) for _ in "wh")) + data[24:]
    if rng.random() < 0.5:
        shutil.copytree(corpus / "yolo", folder / "yolo")
        (folder / "yolo" / "images" / "train" / f"0{file.suffix}").write_bytes(data)
        return ("data", "check", "yolo")
    (folder / "seen").mkdir()
    stem = rng.choice((b"a", b"a", b"\xff\xfe", "é狗".encode(), b"a\x1b[31m", b"a\nb", b"[red]", b"a" * 240))
    (folder / "seen" / (stem + file.suffix.encode()).decode(errors="surrogateescape")).write_bytes(data)
    # The corpus, as it is, can be read: its files are sound.
    return ("predict", str(corpus / "run"), "seen", "--imgsz", "64", "-o", "found", "--backend", "torch")


def videos(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """A video that is predicted on."""
    file = rng.choice(sorted(corpus.glob("video.*")))
    (folder / "seen").mkdir()
    stem = rng.choice((b"a", b"a", b"\xff\xfe", "é狗".encode(), b"%d", b"a" * 240))
    name = (stem + file.suffix.encode()).decode(errors="surrogateescape")
    (folder / "seen" / name).write_bytes(mutate_bytes(rng, file.read_bytes()))
    return ("predict", str(corpus / "run"), "seen", "--imgsz", "64", "-o", "found", "--backend", "torch")


def runs(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """A run that is resumed, with a damaged run.json, state.pt or results.csv."""
    shutil.copytree(corpus / "run", folder / "run")
    way = rng.random()
    if way < 0.5:
        # Many epochs are no damage, only work.
        few = tuple(v for v in VALUES if isinstance(v, bool) or not isinstance(v, int | float) or v < 4 or v > 10**15)
        damage_json(rng, folder / "run" / "run.json", few)
    elif way < 0.9:
        file = folder / "run" / "state.pt"
        if rng.random() < 0.3:
            file.write_bytes(mutate_bytes(rng, file.read_bytes()))
        else:
            file.write_bytes(_saved(_damaged_state(rng, torch.load(file, weights_only=True))))
    else:
        file = folder / "run" / "results.csv"
        file.write_bytes(encode_badly(rng, mutate_text(rng, file.read_text())))
    return ("train", "--resume", "run")


def _damaged_state(rng: random.Random, state: Any) -> Any:
    tensors = (torch.zeros(0), torch.full((3, 5), float("nan")), torch.ones(2, dtype=torch.int64), torch.tensor(1e30))
    return mutate_value(rng, state, values=(*VALUES, *tensors, *tensors))


def studies(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """A study whose state is printed, with one of its files damaged; or the plan of one that cannot begin."""
    if rng.random() < 0.5 or not (corpus / "study").is_dir():
        for name in ("tiny.yaml", "overlay.yaml"):
            shutil.copy(corpus / name, folder / name)
        (folder / "plan.yaml").write_bytes(damaged_yaml(rng, (corpus / "plan.yaml").read_text()))
        return ("ablate", "--plan", "plan.yaml", "--data", "no-such-data", "-o", "study")
    shutil.copytree(corpus / "study", folder / "study", ignore=shutil.ignore_patterns("*.safetensors", "*.svg", "*.p*"))
    patterns = ("study.json", "study.json", "*/*/seed-*/result.json", "*/*/seed-*/results.csv", "*/*/seed-*/run.json")
    file = rng.choice(sorted((folder / "study").glob(rng.choice(patterns))) or [folder / "study" / "study.json"])
    if file.suffix == ".json":
        damage_json(rng, file)
    else:
        file.write_bytes(encode_badly(rng, mutate_text(rng, file.read_text())))
    return ("ablate", "status", "study", "--format", rng.choice(("text", "json")))


def exports(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """An exported file with damaged bytes, or a damaged header on a sound program."""
    for file in (corpus / "exports").iterdir():
        shutil.copy(file, folder / file.name)
    shutil.copy(corpus / "images" / "1.png", folder / "image.png")
    name = rng.choice(("model.onnx", "model.xml", "model.torchscript"))
    file = folder / name
    data = file.read_bytes()
    if rng.random() < 0.4:
        data = mutate_bytes(rng, data)
    elif name == "model.onnx":
        data = _with_onnx_header(rng, data)
    elif name == "model.xml":
        data = encode_badly(rng, mutate_text(rng, data.decode()))
    else:
        data = _with_torchscript_header(rng, data)
    file.write_bytes(data)
    return ("predict", name, "image.png", "--imgsz", "64", "-o", "found")


def _with_onnx_header(rng: random.Random, data: bytes) -> bytes:
    import onnx

    model = onnx.load_from_string(data)
    entry = next(entry for entry in model.metadata_props if entry.key == "regard")
    entry.value = as_json(mutate_value(rng, json.loads(entry.value))).decode(errors="replace")
    return bytes(model.SerializeToString())


def _with_torchscript_header(rng: random.Random, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename.endswith("extra/regard"):
                content = as_json(mutate_value(rng, json.loads(content)))
            new.writestr(info.filename, content)
    return out.getvalue()


def hyperparameters(rng: random.Random, folder: Path, corpus: Path) -> Argv:
    """The hyp.yaml of a training that then finds no data."""
    sound = (corpus / "hyp.yaml").read_text()
    if rng.random() < 0.5:
        lines = sound.splitlines()
        sound = "\n".join(rng.sample(lines, rng.randrange(1, len(lines))))
        sound = re.sub(r"0", lambda _: rng.choice(("0", "-", "9", ".inf")) if rng.random() < 0.1 else "0", sound)
    (folder / "hyp.yaml").write_bytes(damaged_yaml(rng, sound))
    return ("train", str(corpus / "tiny.yaml"), "--data", "no-such-data", "--hyp", "hyp.yaml")


KINDS: Mapping[str, Kind] = {
    "pt": pickled_checkpoint,
    "safetensors": safetensors,
    "model": model_yaml,
    "data.yaml": data_yaml,
    "labels": labels,
    "coco": coco,
    "voc": voc,
    "images": images,
    "videos": videos,
    "runs": runs,
    "studies": studies,
    "exports": exports,
    "hyp": hyperparameters,
}
"""The kinds of files that were there first, by name."""
