"""The cache: whole entries, bounded, the least recently used go first; a failure costs one line, not the answer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import regard
from regard.errors import RegardError, RegardWarning
from regard.runtimes import cache as cache_module
from regard.runtimes import choose, export, open_predictor
from regard.runtimes.base import Session, available_threads
from regard.runtimes.cache import bound, compiled_files, key_of, look_up, make_room, store
from regard.runtimes.onnxruntime import OnnxRuntime
from regard.runtimes.openvino import OpenVINO
from regard.runtimes.table import RUNTIMES
from regard.system.home import cache_folder
from regard.system.scratch import scratch_folder, scratch_path

ORT = OnnxRuntime()


def test_the_folder_is_where_the_variables_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("REGARD_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "regard"


def test_the_key_follows_content_and_versions_not_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, same, other = (tmp_path / name for name in ("a.pt", "b.pt", "c.pt"))
    one.write_bytes(b"weights")
    same.write_bytes(b"weights")
    other.write_bytes(b"weightz")
    before = key_of(one, ORT)
    assert before == key_of(same, ORT) != key_of(other, ORT)
    assert before != key_of(one, OpenVINO())
    monkeypatch.setattr(cache_module, "FORMAT_VERSION", 0)
    assert key_of(one, ORT) != before


def test_a_second_run_compiles_nothing(cache: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "write_cached", lambda *_: pytest.fail("compiled again"))
    before = sorted(cache.rglob("*"))
    assert isinstance(open_predictor(weights, device="cpu", backend="onnxruntime"), Session)
    assert sorted(cache.rglob("*")) == before


@pytest.mark.parametrize("name", ["model.onnx", "entry.json"])
def test_a_damaged_entry_is_reported_and_removed_and_pytorch_predicts(entry: Path, weights: Path, name: str) -> None:
    file = entry / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    with pytest.warns(RegardWarning, match=r"yolov5n.pt runs in PyTorch: its entry in the cache is damaged"):
        predictor = open_predictor(weights, device="cpu", backend="onnxruntime")
    assert not isinstance(predictor, Session)
    assert look_up(key_of(weights, ORT)) is None


def test_a_cache_that_cannot_be_made_is_reported_and_pytorch_predicts(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(RegardWarning, match="runs in PyTorch: the cache cannot be used"):
        predictor = open_predictor(weights, device="cpu", backend="onnxruntime")
    assert not isinstance(predictor, Session)


def test_attention_over_many_pairs_runs_in_pytorch_where_nothing_else_is_asked_for(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REGARD_BACKEND", raising=False)
    edited = regard.insert(regard.load(weights), "MultiHeadSelfAttention", after="p5")
    file = tmp_path / "n.safetensors"
    regard.save(edited, file)
    assert isinstance(open_predictor(file, device="cpu", imgsz=640), Session)
    # 400 positions at 640 pixels, 256 channels, 4 N^2 C; at 2560 pixels 256 times as much.
    _, entry = look_up(key_of(file, ORT)) or pytest.fail("nothing was compiled")
    assert entry.mixing_flops == 4 * 400**2 * 256
    assert entry.mixing_flops_at(2560) == 256 * entry.mixing_flops
    with pytest.warns(RegardWarning, match="n.safetensors runs in PyTorch: onnxruntime would write out"):
        predictor = open_predictor(file, device="cpu", imgsz=2560)
    assert not isinstance(predictor, Session)
    assert isinstance(open_predictor(file, device="cpu", backend="onnxruntime", imgsz=2560), Session)


def test_what_cannot_be_compiled_runs_in_pytorch_and_is_tried_once(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path))
    tried: list[int] = []

    def fail(*_: object) -> None:
        tried.append(1)
        raise ValueError("no such operator\nand much more")

    monkeypatch.setattr(export, "write_cached", fail)
    for _ in range(2):
        with pytest.warns(RegardWarning, match=r"runs in PyTorch: no such operator$"):
            assert not isinstance(open_predictor(weights, device="cpu", backend="onnxruntime"), Session)
    assert len(tried) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".txt"]  # no half entry


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        OSError(28, "No space left on device"),
        ImportError("no module named onnxscript"),
    ],
)
def test_passing_faults_are_not_remembered(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path))

    def fail(*_: object) -> None:
        if isinstance(error, ImportError):
            raise error
        raise RuntimeError("the converter failed") from error

    monkeypatch.setattr(export, "write_cached", fail)
    with pytest.warns(RegardWarning, match="runs in PyTorch"):
        open_predictor(weights, device="cpu", backend="onnxruntime")
    assert os.listdir(tmp_path) == []


def test_what_dead_processes_left_is_removed_and_that_of_others_counts(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "entry.json").write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    parts = scratch_path(tmp_path).name.split("-")
    dead = tmp_path / "-".join([*parts[:2], "999999999", *parts[3:]])
    dead.mkdir()
    (dead / "model.onnx").write_bytes(b"x" * 100)
    with scratch_folder(tmp_path) as living:
        (living / "model.onnx").write_bytes(b"x" * 100)
        make_room(tmp_path, 250, keep="other")
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([living.name, "new"])


def test_a_failed_entry_leaves_nothing_and_a_rival_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path))

    def half(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(b"half")
        raise ValueError

    with pytest.raises(ValueError):
        store("key", half)
    assert list(tmp_path.iterdir()) == []

    def whole(folder: Path) -> None:
        (folder / "entry.json").write_text("{}")
        rival = tmp_path / "key"
        rival.mkdir(exist_ok=True)
        (rival / "entry.json").write_text("rival")

    store("key", whole)
    assert (tmp_path / "key" / "entry.json").read_text() == "rival"


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old", "kept")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "entry.json").write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    make_room(tmp_path, 250, keep="kept")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "new"]
    make_room(tmp_path, 0, keep="kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_looking_up_marks_an_entry_as_used(entry: Path, weights: Path) -> None:
    os.utime(entry, (1000, 1000))
    assert look_up(key_of(weights, ORT)) is not None
    assert entry.stat().st_mtime > 1000


def test_choices_are_checked(weights: Path) -> None:
    with pytest.raises(RegardError, match=r"unknown backend 'onnx'(?s:.*)did you mean 'onnxruntime'"):
        open_predictor(weights, backend="onnx")
    with pytest.raises(RegardError, match="unknown precision"):
        open_predictor(weights, precision="bf16")


def test_other_devices_own_layers_and_graphs_run_in_pytorch(cache: Path, weights: Path) -> None:
    shutil.rmtree(cache)
    open_predictor(weights, device="cpu", modules={"Own": type(None)}, backend="onnxruntime")  # type: ignore[dict-item]
    open_predictor("yolov5n", device="cpu", backend="onnxruntime")
    assert not cache.exists()


def test_threads_are_those_of_torch_where_it_is_loaded() -> None:
    import torch

    assert available_threads() == torch.get_num_threads()


def test_compiled_models_are_bounded_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("used", "idle"):
        (tmp_path / name / "compiled").mkdir(parents=True)
        (tmp_path / name / "entry.json").write_bytes(b"x")
    os.utime(tmp_path / "idle", (1000, 1000))
    for age in range(7):
        file = tmp_path / "used" / "compiled" / f"{age}.blob"
        file.write_bytes(b"x" * 100)
        os.utime(file, (1000 - age, 1000 - age))
    bound(tmp_path / "used")
    assert [file.name for file in compiled_files(tmp_path / "used")] == ["3.blob", "2.blob", "1.blob", "0.blob"]
    assert (tmp_path / "idle").is_dir()
    monkeypatch.setattr(cache_module, "size_limit", lambda: 300)
    bound(tmp_path / "used")
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_opening_bounds_what_a_runtime_adds_and_only_then(
    cache: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    pytest.importorskip(backend)
    entry = cache / key_of(weights, RUNTIMES[backend])
    shutil.rmtree(entry / "compiled")
    bounded: list[Path] = []
    monkeypatch.setattr(choose, "bound", bounded.append)
    for _ in range(2):
        open_predictor(weights, device="cpu", backend=backend)
    assert bounded == [entry]
    assert len(compiled_files(entry)) == 1
