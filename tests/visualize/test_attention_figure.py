"""Images show the data they were given, for every kind of map."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from regard.data.letterbox import letterbox
from regard.errors import RegardError
from regard.types import AttentionMap
from regard.visualize.attend import View
from regard.visualize.attention_figure import channels_of, panels_of
from regard.visualize.gradient import GradientMap

IMAGE = np.full((60, 80, 3), 40, dtype=np.uint8)
PLACE = letterbox(IMAGE, (96, 96))[1]


def _view(found: AttentionMap | GradientMap) -> View:
    return View("p4.layer", "Layer", found, IMAGE, PLACE, (96, 96), (41.0, 31.0), {0: "dot"})


def _save(view: View, path: Path) -> NDArray[np.int64]:
    view.save(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing half-written next to it
    return np.asarray(cv2.imread(str(path)), dtype=np.int64)


def _coloured(figure: NDArray[np.int64]) -> int:
    """Return how many pixels have a colour, in one part in a thousand."""
    return int(1000 * (np.ptp(figure, axis=2) > 40).mean())


@pytest.mark.parametrize("heads", [1, 4, pytest.param(30, marks=pytest.mark.slow)])
def test_each_head_has_a_panel_and_unseen_cells_stay_grey(heads: int, tmp_path: Path) -> None:
    weights = torch.zeros(1, heads, 1, 6, 6)
    weights[..., 3, 3] = 1
    found = AttentionMap("rows", weights, ((3, 3),))
    assert len(panels_of(found)) == (1 if heads == 1 else heads + 1)
    one_cell = _coloured(_save(_view(found), tmp_path / "a" / "a.png"))
    everywhere = _coloured(_save(_view(AttentionMap("rows", weights + 1, ((3, 3),))), tmp_path / "b" / "b.png"))
    assert 0 < 8 * one_cell < everywhere


def test_the_average_is_that_of_the_heads() -> None:
    weights = torch.rand(1, 3, 1, 5, 7)
    mean, *heads = panels_of(AttentionMap("rows", weights, ((0, 0),)))
    assert mean.heading == "mean of 3 heads"
    np.testing.assert_allclose(mean.values, weights[0, :, 0].mean(0).numpy())
    assert [panel.heading for panel in heads] == ["head 1", "head 2", "head 3"]
    assert mean.low == 0
    assert mean.high == mean.values.max()


def test_channels_become_bars_and_elements_both(tmp_path: Path) -> None:
    elements = torch.rand(1, 7, 5, 3)
    np.testing.assert_allclose(channels_of(AttentionMap("elements", elements)), elements[0].mean((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(panels_of(AttentionMap("elements", elements))[0].values, elements[0].mean(0), rtol=1e-6)
    channel = AttentionMap("channel", torch.rand(1, 256))
    assert not panels_of(channel)
    assert channels_of(AttentionMap("spatial", elements[:, 0])) is None
    assert _save(_view(channel), tmp_path / "a" / "c.png").shape[1] > 1500
    assert _save(_view(AttentionMap("elements", elements)), tmp_path / "b" / "e.png").shape[1] > 2000
    assert _coloured(_save(_view(AttentionMap("spatial", elements[:, 0])), tmp_path / "c" / "s.png")) > 100


def test_a_gradient_map_shows_both_forms_from_0_to_1(tmp_path: Path) -> None:
    cam, product = torch.zeros(6, 6), torch.full((6, 6), 3e-9)
    found = GradientMap(cam, product, torch.tensor([10.0, 20, 50, 60]), 0.5, 0)
    first, second = panels_of(found)
    assert (first.values.max(), second.values.max()) == (0, 1)  # all zero stays zero
    assert _save(_view(found), tmp_path / "a" / "g.png").shape[1] > 1500
    assert _view(found).title.endswith("'dot' with score 0.50")


@pytest.mark.parametrize("size", [(900, 40), (40, 900), (1, 1)])
def test_extreme_shapes_are_drawn(size: tuple[int, int], tmp_path: Path) -> None:
    image = np.zeros((*size, 3), dtype=np.uint8)
    placement = letterbox(image, (64, 64))[1]
    found = AttentionMap("rows", torch.rand(1, 2, 1, 2, 2), ((0, 0),))
    View("x", "X", found, image, placement, (64, 64), (0.0, 0.0), {}).save(tmp_path / "x.png")


def test_another_format_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(RegardError, match=r"expected: \.png"):
        _view(AttentionMap("channel", torch.rand(1, 3))).save(tmp_path / "x.jpg")
