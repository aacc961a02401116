"""Kills commands at random moments: ``python tests/adversary/kills.py 150 [--seed N] [--kind NAME] [--corpus FOLDER]``.

After each kill every file that has its name is whole; the next command ends as if there had been no kill, and leaves
nothing behind; no process of the killed command goes on. Prints each fault with its seed, and figures at the end.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from forks import Result, command, fork, import_everything
from fuzz import make_corpus

TRAIN = ("--imgsz", "32", "--batch", "2", "--epochs", "4", "--seed", "3", "--no-plots", "--device", "cpu")
PLAN = """\
base: tiny.yaml
data: synthetic:context?train=4&val=2&test=1
insert: [SE@p3]
control: none
seeds: [3]
epochs: 1
imgsz: 32
batch: 2
train: {precision: "32", workers: 0}
"""
SAVE = ("--imgsz", "64", "--conf", "0.0001", "--save-txt", "--save-json", "--save-csv", "-o", "found")
Argv = tuple[str, ...]


def train(*options: str) -> Argv:
    return ("train", "run/best.safetensors", *TRAIN, *options, "-o", "trained")


def resume(folder: Path, argv: Argv) -> Argv:
    """What continues a training: the same command if it had not begun."""
    return ("train", "--resume", "trained") if (folder / "trained" / "run.json").is_file() else argv


KINDS: dict[str, tuple[Argv, str]] = {
    "train": (train("--data", "synthetic:context?train=7&val=2&test=0", "--workers", "0"), "torch"),
    "train, workers and cache": (train("--data", "yolo", "--workers", "1", "--cache", "disk"), "torch"),
    "export onnx": (("export", "run", "-o", "out/model.onnx", "--imgsz", "32"), "torch"),
    "export openvino": (("export", "run", "-o", "out/model.xml", "--imgsz", "32"), "torch"),
    "export torchscript": (("export", "run", "-o", "out/model.torchscript", "--imgsz", "32"), "torch"),
    "predict": (("predict", "run", "images", "video.mp4", "video.avi", *SAVE), "torch"),
    "predict, compiled": (("predict", "run/best.safetensors", "images", *SAVE), "onnxruntime"),
    "predict, openvino": (("predict", "run/best.safetensors", "images", *SAVE), "openvino"),
    "plots and sheet": (
        ("val", "run", "--data", "synthetic:context?train=0&val=5&test=0", "--imgsz", "64", "--plots", "plots"),
        "torch",
    ),
    "ablate": (("ablate", "--plan", "plan.yaml", "--processes", "1", "-o", "study"), "torch"),
}
"""Command and backend of each kind."""


@dataclass(frozen=True)
class Kill:
    """One kill, and what is wrong after it, if anything."""

    kind: str
    seed: int
    after: float
    was_killed: bool
    fault: str | None

    def __str__(self) -> str:
        return f"kind {self.kind}, seed {self.seed}, killed after {self.after:.2f} s: {self.fault}"


def make_case(folder: Path, corpus: Path) -> Path:
    """Make the folder of a case: the corpus, and an earlier export of other weights where the new one goes."""
    shutil.copytree(corpus, folder)
    (folder / "out").mkdir()
    if (corpus / "older").is_dir():
        shutil.copytree(corpus / "older", folder / "out", dirs_exist_ok=True)
    (folder / "plan.yaml").write_text(PLAN)
    for name in ("home", "tmp"):
        (folder / name).mkdir()
    return folder


def make_older(corpus: Path) -> None:
    """Exports of another detector, which a new one replaces."""
    import regard

    (corpus / "older").mkdir()
    for suffix in ("torchscript", "onnx", "xml"):
        regard.export(regard.load(corpus / "tiny.yaml"), corpus / "older" / f"model.{suffix}", imgsz=32)


def kill(kind: str, seed: int, whole: Path, seconds: float, corpus: Path, folder: Path) -> Kill:
    """Kill a command within the time that it takes undisturbed, and run it again."""
    argv, backend = KINDS[kind]
    environment = {"REGARD_BACKEND": backend}
    after = random.Random(f"{kind} {seed}").uniform(0, seconds)
    make_case(folder, corpus)
    first = command(argv, folder, environment=environment, kill_after=after)
    fault = f"orphans: {first.orphans}" if first.orphans else _broken(folder, whole, is_over=False)
    if not fault:
        second = command(resume(folder, argv) if kind.startswith("train") else argv, folder, environment=environment)
        if second.code:
            fault = f"the next command failed with {second.code}: {second.output[-1500:]}"
    fault = fault or _left_over(folder) or _broken(folder, whole, is_over=True)
    return Kill(kind, seed, after, first.code == -signal.SIGKILL, fault)


def _broken(folder: Path, whole: Path, *, is_over: bool) -> str | None:
    """What is not whole in a folder, or, when the work is over, differs from undisturbed work."""
    found = fork(lambda: print("\n".join(_faults(folder, whole, is_over))))
    return found.output.strip() or None


def _faults(folder: Path, whole: Path, is_over: bool) -> Iterator[str]:
    names = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    for name in sorted(names):
        if any(part.startswith(".") for part in name.parts) or name.parts[0] in ("home", "tmp", "exports", "older"):
            continue
        try:
            _read(folder / name, whole / name, is_over)
        except Exception as error:
            yield f"{name}: {type(error).__name__}: {error}"
    if is_over:
        other = {path.relative_to(whole) for path in whole.rglob("*") if path.is_file()}
        for name in sorted(other ^ names):
            if name.parts[0] not in ("cache", "home", "tmp", "image-cache") and "tensorboard" not in name.parts:
                yield f"{name}: only {'undisturbed' if name in other else 'after the kill'}"


def _read(file: Path, whole: Path, is_over: bool) -> None:
    """Read a file that has its name; at the end it is that of undisturbed work, but for what the clock changes."""
    suffix = file.suffix
    if suffix == ".json":
        document = json.loads(file.read_bytes())
        if is_over and file.name == "result.json":
            assert document["weights"] == json.loads(whole.read_bytes())["weights"], "other weights"
        if is_over and file.name == "failure.json":
            raise ValueError(document["error"])
    elif suffix in (".png", ".jpg", ".webp"):
        assert cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR) is not None, "no image"
    elif suffix == ".npy":
        np.load(file, allow_pickle=False)
    elif suffix == ".mp4":
        assert int(cv2.VideoCapture(str(file)).get(cv2.CAP_PROP_FRAME_COUNT)) == 3, "frames are missing"
    elif suffix == ".safetensors":
        _check_tensors(file, whole, is_over)
    elif file.parent.name == "out" and suffix in (".xml", ".onnx", ".torchscript"):
        found, new, old = (_output(path) for path in (file, whole, whole.parents[1] / "older" / file.name))
        assert any(np.allclose(found, other, rtol=1e-3) for other in ((new,) if is_over else (new, old))), "a mixture"
    if is_over and (suffix == ".txt" or file.name.startswith("detections")) and "found" in file.parts:
        assert file.read_bytes() == whole.read_bytes(), "other detections"


def _check_tensors(file: Path, whole: Path, is_over: bool) -> None:
    import torch

    from regard.weights.store import load_weights

    tensors = load_weights(file)[0]
    if is_over and "trained" in file.parts:
        other = load_weights(whole)[0]
        assert tensors.keys() == other.keys(), "other tensors"
        assert all(torch.equal(tensors[key], other[key]) for key in tensors), "other weights"


def _output(file: Path) -> np.ndarray:
    from regard.runtimes import open_predictor

    image = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    return open_predictor(file, trust=True).predict(image, 0.0)[0]


def _left_over(folder: Path) -> str | None:
    """Temporary files, also of the next command; a run of a study keeps its lock, which dates its start."""
    from regard.system.locks import LOCK
    from regard.system.outputs import LEDGER

    left = [path for path in folder.rglob("*") if path.name.startswith(".") or ".part" in path.name]
    left = [path for path in left if not (path.name == LOCK and "study" in path.parts) and path.name != LEDGER]
    left += [path for path in (folder / "tmp").iterdir() if "regard" in path.name]
    return f"left: {', '.join(str(path.relative_to(folder)) for path in left[:3])}" if left else None


def kills(count: int, first: int, kinds: Sequence[str], corpus: Path, scratch: Path) -> Iterator[Kill]:
    """Kill ``count`` commands, the kinds in turn; each runs undisturbed once before."""
    undisturbed: dict[str, tuple[Path, Result]] = {}
    if not (corpus / "older").is_dir() and any(kind.startswith("export") for kind in kinds):
        made = fork(lambda: make_older(corpus))
        assert made.code == 0, made.output
    for i in range(count):
        kind = kinds[i % len(kinds)]
        if kind not in undisturbed:
            whole = make_case(scratch / f"whole-{len(undisturbed)}", corpus)
            result = command(KINDS[kind][0], whole, environment={"REGARD_BACKEND": KINDS[kind][1]})
            assert result.code == 0, result.output
            undisturbed[kind] = whole, result
        whole, result = undisturbed[kind]
        yield kill(kind, first + i // len(kinds), whole, result.seconds, corpus, scratch / "case")
        shutil.rmtree(scratch / "case")


def _stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `timeout` sends it twice
    raise KeyboardInterrupt


def main() -> None:
    """Kill, print faults as they are found, and figures at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--corpus", type=Path, help="made there if it is empty")
    asked = parser.parse_args()
    kinds = asked.kind or list(KINDS)
    done: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        corpus = asked.corpus or Path(temporary, "corpus")
        if not (corpus / "run").is_dir():
            corpus.mkdir(parents=True, exist_ok=True)
            make_corpus(corpus)
        import_everything()
        signal.signal(signal.SIGTERM, _stop)
        with suppress(KeyboardInterrupt):  # the figures so far
            for found in kills(asked.count, asked.seed, kinds, corpus, Path(temporary)):
                done[f"{found.kind}{'' if found.was_killed else ', had ended'}"] += 1
                if found.fault:
                    faults[found.kind] += 1
                    print(found, flush=True)
    print(f"{sum(done.values())} kills from seed {asked.seed}: {dict(done)}")
    print(f"{sum(faults.values())} faults {dict(faults)}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
