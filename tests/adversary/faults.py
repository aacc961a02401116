"""Full disks and missing rights: ``python tests/adversary/faults.py [--corpus FOLDER] [--only WORD]``.

Each command ends with exit code 0, 1 or 2 and one line if it failed, keeps the file that was there or writes a whole
one, and leaves nothing behind. The disk is a small tmpfs, which takes root; else, and besides, files have a largest
size. Rights are taken by becoming another user, which takes root too. Prints each fault, and figures at the end.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from forks import Result, command, import_as_needed, import_everything
from fuzz import make_corpus
from kills import make_case

STRANGER = 54321
"""A user of this number has no entry, and so no home."""
SCENES = "synthetic:context?train=4&val=2&test=1"
TRAIN = ("--imgsz", "32", "--batch", "2", "--epochs", "1", "--device", "cpu", "--workers", "0")
FOUND = ("--imgsz", "64", "--conf", "0.0001", "--save-txt", "--save-json", "--save-csv")
Argv = tuple[str, ...]

WRITERS: dict[str, Argv] = {
    "train": ("train", "tiny.yaml", "--data", SCENES, *TRAIN, "-o", "{}/trained"),
    "export onnx": ("export", "run", "--imgsz", "32", "-o", "{}/model.onnx"),
    "export openvino": ("export", "run", "--imgsz", "32", "-o", "{}/model.xml"),
    "export torchscript": ("export", "run", "--imgsz", "32", "-o", "{}/model.torchscript"),
    "predict images": ("predict", "run", "images", *FOUND, "-o", "{}/found"),
    "predict a video": ("predict", "run", "video.mp4", *FOUND, "-o", "{}/found"),
    "insert": ("insert", "run", "SE", "--after", "p3", "-o", "{}/new.safetensors"),
    "model for another package": ("convert", "run", "--to", "yolov5", "-o", "{}/back"),
    "model of the present form": ("convert", "run", "-o", "{}/back.safetensors"),
    "predict crops": ("predict", "run", "images", *FOUND, "--save-crop", "--no-save-images", "-o", "{}/found"),
    "data check": ("data", "check", "yolo", "--sheet", "{}/sheet.jpg"),
    "data convert": ("data", "convert", "yolo", "{}/converted", "--to", "coco"),
    "export static": ("export", "run", "--imgsz", "32", "--static", "-o", "{}/fixed.onnx"),
    "detections of val": ("val", "run", "--data", SCENES, "--imgsz", "64", "--save-json", "{}/found.json"),
    "val": ("val", "run", "--data", SCENES, "--imgsz", "64", "--plots", "{}/plots"),
    "attend": (
        "attend",
        "run",
        "images/1.png",
        "--imgsz",
        "64",
        "--kind",
        "gradient",
        "--layer",
        "p3",
        "-o",
        "{}/a.png",
    ),
    "ablate": ("ablate", "--plan", "plan.yaml", "--processes", "1", "-o", "{}/study"),
}
"""Commands that write into a folder, which is put for "{}"."""


@dataclass(frozen=True)
class Fault:
    """A fault of the system that a command meets.

    Attributes:
        argv: of the command.
        prepare: makes the fault in the process of the command.
        make: makes it in the folder of the case, before.
        environment: variables that differ.
        must_fail: whether the command cannot succeed.
    """

    argv: Argv
    prepare: Callable[[], object] = lambda: None
    make: Callable[[Path], object] = lambda _: None
    environment: Mapping[str, str] = field(default_factory=dict)
    must_fail: bool = True


def limit(kind: int, most: int) -> Callable[[], object]:
    """Limit what a process may use."""
    return lambda: resource.setrlimit(kind, (most, most))


def stranger() -> None:
    """Become a user who owns nothing here."""
    os.setgroups([])
    os.setgid(STRANGER)
    os.setuid(STRANGER)


def small_disk(bytes_free: int) -> Callable[[Path], object]:
    """Mount a small disk as the folder "out"."""

    def mount(folder: Path) -> None:
        options = f"size={bytes_free},mode=777"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder / "out")], check=True)

    return mount


def opened(*names: str) -> Callable[[Path], object]:
    """Let everybody write into some folders."""

    def chmod(folder: Path) -> None:
        for name in names:
            (folder / name).mkdir(exist_ok=True)
            (folder / name).chmod(0o777)

    return chmod


def closed(name: str) -> Callable[[Path], object]:
    """Let only root read a file or folder, and everybody write where results go."""

    def chmod(folder: Path) -> None:
        opened("out", "tmp", "cache")(folder)
        (folder / name).chmod(0)

    return chmod


def filled(argv: Argv, folder: str = "out") -> Argv:
    return tuple(part.replace("{}", folder) for part in argv)


def faults() -> dict[str, Fault]:
    """All faults that can be made here."""
    found: dict[str, Fault] = {}
    for name, argv in WRITERS.items():
        for size in (0, 3000):
            found[f"{name}, files of {size} bytes at most"] = Fault(filled(argv), limit(resource.RLIMIT_FSIZE, size))
        found[f"{name}, a file where the folder goes"] = Fault(filled(argv, "out/file"), make=_file_in_the_way)
        if os.geteuid() == 0 and sys.platform == "linux":
            found[f"{name}, a full disk"] = Fault(filled(argv), make=small_disk(8192))
            found[f"{name}, a folder of another user"] = Fault(filled(argv), stranger)
    for name in ("data check", "data convert", "detections of val"):  # some suffice
        found.pop(f"{name}, files of 3000 bytes at most")
    found |= _caches()
    if os.geteuid() == 0:
        found |= _rights()
    found["predict, few open files"] = Fault(
        filled(WRITERS["predict images"]), limit(resource.RLIMIT_NOFILE, 12), must_fail=False
    )
    found["train, the current folder is gone"] = Fault(
        ("train", "odd-one-out", "--data", SCENES, *TRAIN), prepare=_leave_current_folder
    )
    return found


def _caches() -> dict[str, Fault]:
    predict = ("predict", "run/best.safetensors", "images", *FOUND, "-o", "out/found")
    found = {}
    for backend in ("onnxruntime", "openvino"):
        own = {"REGARD_BACKEND": backend}
        found[f"predict with {backend}, the cache is a file"] = Fault(
            predict, make=lambda folder: (folder / "cache").touch(), environment=own, must_fail=False
        )
        if os.geteuid() == 0:
            found[f"predict with {backend}, the cache is another user's"] = Fault(
                predict, stranger, opened("out", "tmp"), own, must_fail=False
            )
            nobody = {**own, "REGARD_CACHE": "", "HOME": "/nowhere"}
            found[f"predict with {backend}, no home"] = Fault(predict, stranger, opened("out", "tmp"), nobody, False)
    return found


def _rights() -> dict[str, Fault]:
    predict = filled(WRITERS["predict images"])
    everywhere = opened("out", "tmp", "cache")
    return {
        "predict, an unknown user": Fault(predict, stranger, everywhere, must_fail=False),
        "train, an unknown user": Fault(filled(WRITERS["train"]), stranger, everywhere, must_fail=False),
        "predict, the current folder is another user's": Fault(predict[:-2], stranger, everywhere),
        "train, the current folder is another user's": Fault(WRITERS["train"][:-2], stranger, everywhere),
        "predict, an image may not be read": Fault(
            ("predict", "run", "images/1.png", *predict[3:]), stranger, closed("images/1.png")
        ),
        "predict, the folder of images may not be read": Fault(predict, stranger, closed("images")),
        "predict, the model may not be read": Fault(predict, stranger, closed("run/best.safetensors")),
        "predict, the run may not be entered": Fault(predict, stranger, closed("run")),
        "train, a label may not be read": Fault(
            ("train", "tiny.yaml", "--data", "yolo", *TRAIN, "-o", "out/trained"),
            stranger,
            closed("yolo/labels/train/0.txt"),
            must_fail=False,  # it is reported, as other defects of the data
        ),
        "train, the data may not be read": Fault(
            ("train", "tiny.yaml", "--data", "yolo/data.yaml", *TRAIN, "-o", "out/trained"),
            stranger,
            closed("yolo/data.yaml"),
        ),
        "resume, another user's run": Fault(("train", "--resume", "run"), stranger, everywhere),
        "status, another user's folder": Fault(("ablate", "status", "run"), stranger, closed("run")),
        "predict, no temporary folder": Fault(
            predict, stranger, opened("out", "cache"), {"TMPDIR": "/nowhere"}, must_fail=False
        ),
    }


def _file_in_the_way(folder: Path) -> None:
    (folder / "out" / "file").touch()


def _leave_current_folder() -> None:
    gone = Path(tempfile.mkdtemp(dir=".")).absolute()
    os.chdir(gone)
    gone.rmdir()


def meet(fault: Fault, corpus: Path, folder: Path) -> tuple[Result, str | None]:
    """Run a command that meets a fault, and say what is wrong with what it did."""
    make_case(folder, corpus)
    folder.chmod(0o755)
    fault.make(folder)
    before = _contents(folder)
    try:
        result = command(fault.argv, folder, environment=fault.environment, prepare=fault.prepare)
        return result, _judge(fault, result, before, _contents(folder))
    finally:
        if os.path.ismount(folder / "out"):
            subprocess.run(["umount", str(folder / "out")], check=True)


def _judge(fault: Fault, result: Result, before: Mapping[Path, bytes], after: Mapping[Path, bytes]) -> str | None:
    lines = [line for line in result.output.splitlines() if line.startswith(("error:", "╭─ Error"))]
    errors = [line for line in lines if not re.match(r"error: \w+\.on_", line)]  # of a callback, which costs nothing
    if "Traceback" in result.output or result.code not in (0, 1, 2):
        return f"exit code {result.code}"
    if result.code == 0 and fault.must_fail:
        return "it succeeds"
    if result.code and len(errors) != 1:
        return f"{len(errors)} lines with an error"
    if left := [str(path) for path in after if any(part.startswith(".regard-") for part in path.parts)]:
        return f"left {left[0]}"
    if result.code and (lost := [str(path) for path, content in before.items() if after.get(path) != content]):
        return f"changed {lost[0]}"
    return None


def _contents(folder: Path) -> dict[Path, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and "cache" not in path.parts]
    return {path.relative_to(folder): path.read_bytes() for path in paths}


def met(only: str, corpus: Path, scratch: Path) -> Iterator[tuple[str, Result, str | None]]:
    """Meet all faults whose name contains a word."""
    scratch.chmod(0o755)
    chosen = {name: fault for name, fault in faults().items() if only in name}
    make_case(scratch / "case", corpus)
    for name, argv in WRITERS.items():
        if name != "ablate" and any(fault.argv[0] == argv[0] for fault in chosen.values()):
            import_as_needed(filled(argv), scratch / "case")
    shutil.rmtree(scratch / "case")
    for name, fault in chosen.items():
        yield (name, *meet(fault, corpus, scratch / "case"))
        shutil.rmtree(scratch / "case")


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.startswith("error:")] or output.strip().splitlines()
    return lines[-1] if lines else ""


def main() -> None:
    """Meet every fault, print what is wrong, and figures at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a word in the names of faults")
    parser.add_argument("--corpus", type=Path, help="made there if it is empty")
    parser.add_argument("--verbose", action="store_true", help="print the last line of each command")
    asked = parser.parse_args()
    codes: Counter[int] = Counter()
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        corpus = asked.corpus or Path(temporary, "corpus")
        if not (corpus / "run").is_dir():
            corpus.mkdir(parents=True, exist_ok=True)
            make_corpus(corpus)
        import_everything()
        for name, result, fault in met(asked.only, corpus, Path(temporary)):
            codes[result.code] += 1
            if fault:
                wrong += 1
                print(f"{name}: {fault}\n{result.output[-2500:]}\n", flush=True)
            elif asked.verbose:
                print(f"{name}: {result.code}: {_last_line(result.output)}", flush=True)
    print(f"{sum(codes.values())} faults, {wrong} wrong; exit codes {dict(codes)}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
