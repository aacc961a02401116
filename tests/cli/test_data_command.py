"""`regard data` as it is called."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from regard.cli import app


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        file = tmp_path / f"pets/images/{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(cv2.imencode(".png", np.zeros((37, 53, 3), np.uint8))[1].tobytes())
        label = tmp_path / f"pets/labels/{name}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text("0 .5 .5 .1 .2\n")
    return tmp_path / "pets"


@pytest.mark.parametrize("row", ["", "0 26 18 5 7\n", "0 .5 .5 0 .2\n", "0 nan .5 .1 .2\n"])
def test_convert_exits_1_where_a_box_is_lost_and_keeps_the_rest(pets: Path, tmp_path: Path, row: str) -> None:
    (pets / "labels/b.txt").write_text("0 .5 .5 .1 .2\n" + row)
    result = CliRunner().invoke(app, ["data", "convert", str(pets), str(tmp_path / "new")])
    assert result.exit_code == bool(row)
    assert sorted(path.name for path in (tmp_path / "new/images/train").iterdir()) == ["a.png", "b.png"]
    assert ("1 problem loses something" in result.output) is bool(row)
