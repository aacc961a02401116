"""The optimised graph is kept and opened as it is, gives the same numbers, and costs only time when it is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from regard.runtimes import onnxruntime as onnxruntime_module
from regard.runtimes.base import INPUT, Session, SessionOptions, file_digest
from regard.runtimes.onnxruntime import OnnxRuntime

LEVELS = ("level0", "level1", "level2")


def kept(entry: Path) -> list[Path]:
    return sorted((entry / "compiled").glob("*.onnx"))


def open_entry(entry: Path) -> Session:
    return OnnxRuntime().open(entry / "model.onnx", SessionOptions(threads=1, compiled=entry / "compiled"))


def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the name of each folder that a session is opened from."""
    opened: list[str] = []
    original = onnxruntime.InferenceSession

    def watching(path: str, *args: object, **kwargs: object) -> object:
        opened.append(Path(path).parent.name)
        return original(path, *args, **kwargs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", watching)
    return opened


def test_compiling_leaves_the_optimised_graph_and_it_gives_the_same_numbers(
    entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(3).integers(0, 256, (2, 3, 96, 160), dtype=np.uint8)
    plain = onnxruntime.InferenceSession(entry / "model.onnx", providers=["CPUExecutionProvider"])
    expected = plain.run(None, {INPUT: images})
    (file,) = kept(entry)
    opened = read(monkeypatch)
    for found, wanted in zip(open_entry(entry).run(images, LEVELS), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert opened == ["compiled"]
    assert kept(entry) == [file]


@pytest.mark.parametrize("content", [b"", b"no graph", None])
def test_a_damaged_one_is_made_again(entry: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> None:
    (file,) = kept(entry)
    one_wrong = bytearray(file.read_bytes())
    one_wrong[len(one_wrong) // 2] ^= 255
    file.write_bytes(one_wrong if content is None else content)
    opened = read(monkeypatch)
    open_entry(entry)
    assert opened == [entry.name]
    (again,) = kept(entry)  # of another name, where the runtime writes the same graph in another order
    assert again.stem.endswith(file_digest(again))
    open_entry(entry)
    assert opened == [entry.name, "compiled"]


def test_one_that_the_runtime_rejects_is_made_again(entry: Path) -> None:
    (file,) = kept(entry)
    file.write_bytes(b"no graph")
    bad = file.rename(file.with_stem(f"{file.stem.partition('-')[0]}-{file_digest(file)}"))
    open_entry(entry)
    assert not bad.exists()
    assert len(kept(entry)) == 1


def test_another_version_or_processor_has_its_own(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept(entry)
    monkeypatch.setattr(onnxruntime_module, "_processor", lambda: ["another"])
    open_entry(entry)
    monkeypatch.setattr(onnxruntime, "__version__", "0.0")
    open_entry(entry)
    assert len(kept(entry)) == 3
    assert set(before) < set(kept(entry))


def test_where_nothing_can_be_written_the_model_itself_is_opened(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = kept(entry)
    file.unlink()
    file.parent.rmdir()
    file.parent.touch()  # a folder cannot be made there
    opened = read(monkeypatch)
    open_entry(entry)
    assert opened == [entry.name]
    assert not list(entry.rglob(".*"))
