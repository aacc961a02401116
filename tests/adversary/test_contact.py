"""Nothing is contacted: every command, its sockets watched, in a home folder that stays empty but for the cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import make_corpus

HOOKS = Path(__file__).with_name("hooks")
SCENES = "synthetic:context?train=4&val=2&test=1"
QUICK = ("--imgsz", "64")
TRAINING = ("--data", SCENES, "--imgsz", "32", "--batch", "2", "--epochs", "1")

COMMANDS: dict[str, tuple[str, ...]] = {
    "version": ("--version",),
    "summary": ("summary", "forged.pt"),
    "lint": ("lint", "tiny.yaml", "yolo11n.yaml"),
    "cost": ("cost", "tiny.yaml", *QUICK, "--repeats", "1"),
    "insert": ("insert", "tiny.yaml", "SE", "--after", "p3", "-o", "made.yaml"),
    "replace": ("replace", "tiny.yaml", "p3", "Conv", "-o", "made.yaml"),
    "remove": ("remove", "overlay.yaml", "seen", "-o", "made.yaml"),
    "convert": ("convert", "run", "--to", "yolov5", "-o", "back"),
    "train": ("train", "tiny.yaml", *TRAINING, "--workers", "1", "-o", "trained"),
    "train, two processes": ("train", "tiny.yaml", *TRAINING, "--devices", "2", "--device", "cpu", "-o", "pair"),
    "resume": ("train", "--resume", "run"),
    "val": ("val", "run", "--data", SCENES, *QUICK),
    "val, openvino": ("val", "run", "--data", SCENES, *QUICK, "--backend", "openvino"),
    "predict": ("predict", "run", "images", "video.avi", *QUICK, "-o", "found"),
    "predict, openvino": ("predict", "run", "images", *QUICK, "-o", "found", "--backend", "openvino"),
    "predict an export": ("predict", "exports/model.xml", "images", *QUICK, "-o", "found"),
    "predict a TorchScript": ("predict", "exports/model.torchscript", "images", *QUICK, "-o", "found", "--trust"),
    "predict an ONNX": ("predict", "exports/model.onnx", "images", *QUICK, "-o", "found"),
    "export safetensors": ("export", "run", "-o", "made.safetensors", *QUICK),
    "export onnx": ("export", "run", "-o", "made.onnx", *QUICK),
    "export openvino": ("export", "run", "-o", "made.xml", *QUICK),
    "export torchscript": ("export", "run", "-o", "made.torchscript", *QUICK),
    "attend": ("attend", "run", "images/1.png", *QUICK, "--kind", "gradient", "--layer", "p3", "-o", "seen.png"),
    "data convert": ("data", "convert", "foreign/cvat", "converted", "--to", "coco"),
    "data check": ("data", "check", "yolo"),
    "demo": ("demo", "-o", "demo", "--help"),
    "ablate": ("ablate", "--plan", "plan.yaml", "--control", "none", "--seeds", "3,", "-o", "study"),
    "ablate status": ("ablate", "status", "study"),
}
PAIR = "train, two processes"
"""The processes of a training reach each other through the loopback interface."""
FAST = ("version", "summary", "predict", "predict, openvino", "predict an export", "data check")
REACHED = re.compile(r'sa_family=AF_INET6?.*?inet_(?:addr|pton)\((?:AF_INET6, )?"([^"]+)"')
"""Addresses in a trace of system calls."""
ALLOWED_AT_HOME = {".cache", ".cache/regard"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder)
    return folder


def watched_run(argv: tuple[str, ...], corpus: Path, tmp_path: Path) -> tuple[str, str | None]:
    """Run a command; what its Python code contacts, and its system calls for sockets where they can be traced."""
    home, watched, trace = tmp_path / "home", tmp_path / "watched.txt", tmp_path / "trace.txt"
    home.mkdir()
    dropped = ("XDG_", "REGARD_", "MPL", "TORCH", "ORT_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    environment |= {"HOME": str(home), "WATCHED": str(watched), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HOOKS), *filter(None, [os.environ.get("PYTHONPATH")])])
    strace = ["strace", "-f", "-e", "trace=socket,connect,sendto,sendmsg,sendmmsg", "-o", str(trace)]
    if not shutil.which("strace") or subprocess.run([*strace, "true"], capture_output=True, check=False).returncode:
        strace = []  # not installed, or not allowed here
    command = [*strace, sys.executable, "-m", "regard", *argv]
    done = subprocess.run(command, cwd=corpus, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    left = {str(path.relative_to(home)) for path in home.rglob("*")}
    left = {path for path in left if not path.startswith(".cache/regard/")}
    assert left <= ALLOWED_AT_HOME, sorted(left)
    return (watched.read_text() if watched.exists() else ""), (trace.read_text() if trace.exists() else None)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in COMMANDS]
)
def test_no_command_contacts_anyone_or_writes_into_the_home_folder(name: str, corpus: Path, tmp_path: Path) -> None:
    python, calls = watched_run(COMMANDS[name], corpus, tmp_path)
    assert not python
    if calls is not None:  # libraries in C++ too
        assert set(REACHED.findall(calls)) <= {"127.0.0.1", "::1"}
        assert name == PAIR or "AF_INET" not in calls


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_study_on_a_cluster_contacts_only_its_nodes(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80 * 2**20})
    try:
        node = cluster.address.partition(":")[0]
        study = ("ablate", "--plan", "plan.yaml", "--control", "none", "--seeds", "3,", "--ray", cluster.address)
        python, calls = watched_run((*study, "-o", "on-ray"), corpus, tmp_path)
    finally:
        cluster.shutdown()
    asked = re.findall(r"socket\.\w+ \[?\(?.*?'([^']+)'", python)
    assert set(asked) <= {node, "127.0.0.1", "localhost"}, python
    reached = {address.removeprefix("::ffff:") for address in REACHED.findall(calls or "")}
    assert reached <= {node, "127.0.0.1", "::1"}


def test_the_watch_sees_connections(tmp_path: Path) -> None:
    """Break it once: a watch that sees nothing would pass everything."""
    environment = {**os.environ, "WATCHED": str(tmp_path / "watched.txt"), "PYTHONPATH": str(HOOKS)}
    code = (
        "import os, socket\n"
        "if os.fork() == 0:\n"
        "    socket.socket().connect_ex(('127.0.0.1', 9))\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "try:\n    socket.getaddrinfo('localhost', 80)\nexcept OSError:\n    pass\n"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    seen = (tmp_path / "watched.txt").read_text()
    assert "socket.connect" in seen
    assert "socket.getaddrinfo" in seen
