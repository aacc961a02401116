"""The cache: whole entries, bounded, the least recently used go first; a failure costs one line, not the answer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import regard
from regard.errors import RegardError, RegardWarning
from regard.inference import cache as cache_module
from regard.inference import choose, open_finder, prepare
from regard.inference.cache import bound, cache_folder, compiled_forms, key_of, look_up, make_room, store
from regard.inference.prepared import PreparedFinder, threads


def entry_of(cache: Path) -> Path:
    return next(path for path in cache.iterdir() if path.is_dir())


def test_the_folder_is_where_the_variables_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("REGARD_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "regard"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == Path.home() / ".cache" / "regard"


def test_the_key_follows_content_and_versions_not_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, same, other = (tmp_path / name for name in ("a.pt", "b.pt", "c.pt"))
    one.write_bytes(b"weights")
    same.write_bytes(b"weights")
    other.write_bytes(b"weightz")
    assert key_of(one) == key_of(same) != key_of(other)
    before = key_of(one)
    monkeypatch.setattr(cache_module, "INPUT_FORM", "another")
    assert key_of(one) != before


def test_a_second_run_prepares_nothing(cache: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "prepare", lambda *_: pytest.fail("prepared again"))
    before = sorted(cache.rglob("*"))
    assert isinstance(open_finder(weights, device="cpu", backend="onnxruntime"), PreparedFinder)
    assert sorted(cache.rglob("*")) == before


@pytest.mark.parametrize("name", ["model.onnx", "header.json"])
def test_a_damaged_entry_is_told_and_removed_and_pytorch_answers(cache: Path, weights: Path, name: str) -> None:
    file = entry_of(cache) / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    with pytest.warns(RegardWarning, match=r"yolov5n.pt runs in PyTorch: its entry in the cache is damaged"):
        finder = open_finder(weights, device="cpu", backend="onnxruntime")
    assert not isinstance(finder, PreparedFinder)
    assert look_up(key_of(weights)) is None


def test_a_cache_that_cannot_be_made_is_told_and_pytorch_answers(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(RegardWarning, match="runs in PyTorch: the cache cannot be used"):
        finder = open_finder(weights, device="cpu", backend="onnxruntime")
    assert not isinstance(finder, PreparedFinder)


def test_attention_over_many_pairs_runs_in_pytorch_where_nothing_else_is_asked_for(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REGARD_BACKEND", raising=False)
    edited = regard.insert(regard.load(weights), "MultiHeadSelfAttention", after="p5")
    file = tmp_path / "n.safetensors"
    regard.save(edited, file)
    assert isinstance(open_finder(file, device="cpu", imgsz=640), PreparedFinder)
    # 400 positions at 640 pixels, 256 channels, 4 N^2 C; at 2560 pixels 256 times as much.
    _, header = look_up(key_of(file)) or pytest.fail("nothing was prepared")
    assert header.mixing_flops == 4 * 400**2 * 256
    assert header.mixing_flops_at(2560) == 256 * header.mixing_flops
    with pytest.warns(RegardWarning, match="n.safetensors runs in PyTorch: onnxruntime would write out"):
        finder = open_finder(file, device="cpu", imgsz=2560)
    assert not isinstance(finder, PreparedFinder)
    assert isinstance(open_finder(file, device="cpu", backend="onnxruntime", imgsz=2560), PreparedFinder)


def test_what_cannot_be_prepared_runs_in_pytorch_and_is_tried_once(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path))
    tried: list[int] = []

    def stumble(*_: object) -> None:
        tried.append(1)
        raise ValueError("no such operator\nand much more")

    monkeypatch.setattr(prepare, "prepare", stumble)
    for _ in range(2):
        with pytest.warns(RegardWarning, match=r"runs in PyTorch: no such operator$"):
            assert not isinstance(open_finder(weights, device="cpu", backend="onnxruntime"), PreparedFinder)
    assert len(tried) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".txt"]  # no half entry


def test_a_failed_entry_leaves_nothing_and_a_rival_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path))

    def half(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(b"half")
        raise ValueError

    with pytest.raises(ValueError):
        store("key", half)
    assert list(tmp_path.iterdir()) == []

    def whole(folder: Path) -> None:
        (folder / "header.json").write_text("{}")
        rival = tmp_path / "key"
        rival.mkdir(exist_ok=True)
        (rival / "header.json").write_text("rival")

    store("key", whole)
    assert (tmp_path / "key" / "header.json").read_text() == "rival"


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old", "kept")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "header.json").write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    make_room(tmp_path, 250, keep="kept")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "new"]
    make_room(tmp_path, 0, keep="kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_looking_up_marks_an_entry_as_used(cache: Path, weights: Path) -> None:
    entry = entry_of(cache)
    os.utime(entry, (1000, 1000))
    assert look_up(key_of(weights)) is not None
    assert entry.stat().st_mtime > 1000


def test_choices_are_checked(weights: Path) -> None:
    with pytest.raises(RegardError, match=r"unknown backend 'onnx'(?s:.*)did you mean 'onnxruntime'"):
        open_finder(weights, backend="onnx")
    with pytest.raises(RegardError, match="unknown precision"):
        open_finder(weights, precision="bf16")


def test_other_devices_own_layers_and_graphs_run_in_pytorch(cache: Path, weights: Path) -> None:
    shutil.rmtree(cache)
    open_finder(weights, device="cpu", modules={"Own": type(None)}, backend="onnxruntime")  # type: ignore[dict-item]
    open_finder("yolov5n", device="cpu", backend="onnxruntime")
    assert not cache.exists()


def test_threads_are_those_of_torch_where_it_is_loaded() -> None:
    import torch

    assert threads() == torch.get_num_threads()


def test_compiled_models_are_bounded_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("used", "idle"):
        (tmp_path / name / "openvino").mkdir(parents=True)
        (tmp_path / name / "header.json").write_bytes(b"x")
    os.utime(tmp_path / "idle", (1000, 1000))
    for age in range(7):
        file = tmp_path / "used" / "openvino" / f"{age}.blob"
        file.write_bytes(b"x" * 100)
        os.utime(file, (1000 - age, 1000 - age))
    bound(tmp_path / "used")
    assert [file.name for file in compiled_forms(tmp_path / "used")] == ["3.blob", "2.blob", "1.blob", "0.blob"]
    assert (tmp_path / "idle").is_dir()
    monkeypatch.setattr(cache_module, "size_limit", lambda: 300)
    bound(tmp_path / "used")
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_opening_bounds_what_a_runtime_adds_and_only_then(
    cache: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    entry, bounded = entry_of(cache), []
    monkeypatch.setattr(choose, "bound", bounded.append)
    for _ in range(2):
        open_finder(weights, device="cpu", backend="openvino")
        open_finder(weights, device="cpu", backend="onnxruntime")
    assert bounded == [entry]
    assert [form.parent.name for form in compiled_forms(entry)] == ["onnxruntime", "openvino"]
