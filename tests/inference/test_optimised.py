"""The optimised graph is kept and opened as it is, gives the same numbers, and costs only time when it is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from regard.inference import optimised
from regard.inference.cache import digest_of
from regard.inference.optimised import open_session
from regard.inference.prepared import INPUT, open_onnxruntime


@pytest.fixture
def entry(cache: Path) -> Path:
    return next(path for path in cache.iterdir() if path.is_dir())


def kept(entry: Path) -> list[Path]:
    return sorted((entry / "onnxruntime").glob("*.onnx"))


def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the name of each folder that a session is opened from."""
    opened: list[str] = []
    original = onnxruntime.InferenceSession

    def watching(path: str, *args: object, **kwargs: object) -> object:
        opened.append(Path(path).parent.name)
        return original(path, *args, **kwargs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", watching)
    return opened


def test_preparing_leaves_the_optimised_graph_and_it_gives_the_same_numbers(
    entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(3).integers(0, 256, (2, 3, 96, 160), dtype=np.uint8)
    plain = onnxruntime.InferenceSession(entry / "model.onnx", providers=["CPUExecutionProvider"])
    expected = plain.run(None, {INPUT: images})
    (file,) = kept(entry)
    opened = read(monkeypatch)
    for found, wanted in zip(open_onnxruntime(entry)(images), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert opened == ["onnxruntime"]
    assert kept(entry) == [file]


@pytest.mark.parametrize("content", [b"", b"no graph", None])
def test_a_damaged_one_is_made_anew(entry: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> None:
    (file,) = kept(entry)
    one_wrong = bytearray(file.read_bytes())
    one_wrong[len(one_wrong) // 2] ^= 255
    file.write_bytes(one_wrong if content is None else content)
    opened = read(monkeypatch)
    open_session(entry, 1)
    assert opened == [entry.name]
    (anew,) = kept(entry)  # of another name, where the runtime writes the same graph in another order
    assert anew.stem.endswith(digest_of(anew))
    open_session(entry, 1)
    assert opened == [entry.name, "onnxruntime"]


def test_one_that_the_runtime_refuses_is_made_anew(entry: Path) -> None:
    (file,) = kept(entry)
    file.write_bytes(b"no graph")
    bad = file.rename(file.with_stem(f"{file.stem.partition('-')[0]}-{digest_of(file)}"))
    open_session(entry, 1)
    assert not bad.exists()
    assert len(kept(entry)) == 1


def test_another_version_or_processor_has_its_own(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept(entry)
    monkeypatch.setattr(optimised, "_processor", lambda: ["another"])
    open_session(entry, 1)
    monkeypatch.setattr(onnxruntime, "__version__", "0.0")
    open_session(entry, 1)
    assert len(kept(entry)) == 3
    assert set(before) < set(kept(entry))


def test_where_nothing_can_be_written_the_model_itself_is_opened(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = kept(entry)
    file.unlink()
    file.parent.rmdir()
    file.parent.touch()  # a folder cannot be made there
    opened = read(monkeypatch)
    open_session(entry, 1)
    assert opened == [entry.name]
    assert not list(entry.glob(".making-*"))
