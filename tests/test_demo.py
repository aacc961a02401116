"""The demonstration, cut down to a few images."""

from __future__ import annotations

from pathlib import Path

import pytest

from regard import demo


def test_the_demonstration_compares_two_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "DATA", "synthetic:context?train=8&val=3&test=0")
    monkeypatch.setattr(demo, "EPOCHS", 1)
    (tmp_path / "odd-one-out").mkdir()
    (tmp_path / "odd-one-out" / "run.json").write_text("of an earlier demonstration")
    runs = demo.run_demo(tmp_path)
    assert [run.folder.name for run in runs] == list(demo.MODELS)
    assert all((run.folder / "predictions.jpg").is_file() for run in runs)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines if str(tmp_path) not in line)
    text = "\n".join(lines)
    for words in ("8 drawn images of 128 px", "3 images that no model has seen", "odd-one-out-se", "odd AP50"):
        assert words in text, words
