"""The program without what only POSIX has: its modules cannot be imported, `os.fork` is gone, processes are spawned.

The sources are read too: nothing of POSIX is imported where a module begins, and text files name their encoding.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "regard"
NOT_POSIX = Path(__file__).parent / "not_posix"
POSIX_ONLY = {"fcntl", "grp", "pwd", "resource", "select", "termios", "tty", "pty"}
OS_OF_POSIX = re.compile(
    r"os\.(\w*fork\w*|(get|set)(e|re|res)?[ug]id|[gs]etpgid|getsid|setsid|getpgrp|getgroups|getloadavg|killpg|nice|l?chown|fchmod"
    r"|mkfifo|mknod|pipe2|posix_\w+|pread|pwrite|readv|writev|sched_\w+|sendfile|f?statvfs|sync|sysconf|uname"
    r"|wait|wait3|wait4|waitid|W[A-Z]+|O_(NONBLOCK|CLOEXEC|DIRECTORY|NOFOLLOW|DIRECT|SYNC)|memfd_create|splice)"
)
SIGNAL_OF_POSIX = re.compile(r"signal\.(SIG(?!INT$|TERM$|ABRT$|_DFL$|_IGN$)\w+|alarm|setitimer|sigwait\w*|pause)")
USED_WHERE_FOUND = {
    "ablate/processes.py": {"os.fork"},
    "runtimes/programs.py": {"os.getuid"},
    "system/interrupts.py": {"signal.SIG_BLOCK", "signal.SIG_SETMASK", "signal.SIG_UNBLOCK"},
    "system/resources.py": {"os.sched_getaffinity"},
    "system/scratch.py": {"os.geteuid"},
}
"""What a file takes from POSIX after it has asked whether it is there."""

USE = """
from pathlib import Path

import pytest
import numpy as np
import regard

if __name__ == "__main__":
    data = "synthetic:context?train=8&val=3&test=0"
    settings = {"epochs": 1, "imgsz": 64, "batch": 4, "device": "auto", "plots": False}
    run = regard.train(regard.load("odd-one-out-se"), data, folder="run", workers=2, **settings)
    assert (Path("run") / "best.safetensors").is_file()
    regard.validate(run.model, data, imgsz=64)
    image = np.full((67, 89, 3), 127, np.uint8)
    assert len(regard.predict(run.model, [image, image], imgsz=64)) == 2
    regard.export(run.model, "detector.onnx", imgsz=64)
    regard.predict("detector.onnx", image, imgsz=64)
    regard.validate("detector.onnx", data, imgsz=64, save_json="found.json")
    for backend in ("onnxruntime", "torch"):
        regard.predict("run", image, imgsz=64, backend=backend)
"""

STUDY = (
    *("ablate", "--base", "odd-one-out", "--data", "synthetic:context?train=8&val=4&test=3", "--insert", "SE@p4"),
    *("--seeds", "2", "--epochs", "1", "--imgsz", "64", "--batch", "4", "--control", "none", "-o", "study"),
)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(NOT_POSIX), str(SOURCE.parent)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=500
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def test_the_stand_in_takes_away_what_it_says(tmp_path: Path) -> None:
    script = "import os\nprint(hasattr(os, 'fork'))\ntry:\n    import resource\nexcept ImportError:\n    print('none')"
    assert run(tmp_path, "-c", script).stdout.split() == ["False", "none"]


def test_train_val_predict_and_export(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    script = tmp_path / "use.py"
    script.write_text(USE, encoding="utf-8")
    run(tmp_path, str(script))


def test_a_study_on_this_machine(tmp_path: Path) -> None:
    run(tmp_path, "-m", "regard", *STUDY)
    assert (tmp_path / "study" / "report.html").is_file()
    assert len(list((tmp_path / "study").rglob("result.json"))) >= 4


def test_nothing_of_posix_is_imported_where_a_module_begins() -> None:
    def imported(tree: ast.Module) -> set[str]:
        names = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
        return {name.split(".")[0] for name in names} & POSIX_ONLY

    assert found_in_files(imported) == {}


def test_what_only_posix_has_is_used_where_it_was_asked_for() -> None:
    def used(tree: ast.Module) -> set[str]:
        names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        return {name for name in names if OS_OF_POSIX.fullmatch(name) or SIGNAL_OF_POSIX.fullmatch(name)}

    assert found_in_files(used) == USED_WHERE_FOUND


def test_what_is_opened_as_text_names_its_encoding() -> None:
    assert found_in_files(lambda tree: set(_without_encoding(tree))) == {}


def found_in_files(search: Callable[[ast.Module], set[str]]) -> dict[str, set[str]]:
    """What a search finds in the syntax tree of each source file, without those in which it finds nothing."""
    by_file = {file: search(ast.parse(file.read_bytes())) for file in sorted(SOURCE.rglob("*.py"))}
    return {file.relative_to(SOURCE).as_posix(): found for file, found in by_file.items() if found}


def _without_encoding(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        owner = ast.unparse(receiver) if receiver else ""
        of_module = owner in ("Image", "os", "webbrowser", "runtime") or owner.startswith("RUNTIMES")
        if (receiver and name in ("read_text", "write_text")) or (
            name in ("open", "fdopen") and not of_module and not any("b" in mode for mode in modes)
        ):
            yield ast.unparse(node)
