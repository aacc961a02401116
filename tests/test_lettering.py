"""Text on images, also as it is drawn where OpenCV has letters of ASCII only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from regard import lettering
from regard.errors import RegardWarning
from regard.lettering import draw_text, text_width

RED = (250, 20, 10)
OMEGA = "Ωμέγα"
"""Letters that matplotlib's own font has, so that they are drawn on every machine."""


@pytest.fixture
def opencv_4(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lettering, "HAS_ALL_SCRIPTS", False)
    lettering._letters.cache_clear()
    lettering._fonts.cache_clear()
    yield
    lettering._letters.cache_clear()
    lettering._fonts.cache_clear()


def drawn(
    text: str, left_base: tuple[int, int] = (7, 41), height: float = 20, shape: tuple[int, int] = (61, 199)
) -> NDArray:
    canvas = np.zeros((*shape, 3), np.uint8)
    draw_text(canvas, text, left_base, RED, height)
    return canvas


@pytest.mark.usefixtures("opencv_4")
@pytest.mark.parametrize("text", [OMEGA, f"{OMEGA} 0.87", f"a {OMEGA}"])
def test_other_letters_stand_on_the_line_in_their_colour_and_width(text: str) -> None:
    canvas = drawn(text)
    rows, columns = np.nonzero(canvas.any(-1))
    capital = np.nonzero(drawn("Ω").any(-1))[0]
    assert abs(np.ptp(capital) + 1 - 20) <= 2
    assert capital.max() in (40, 41)
    assert columns.min() >= 7
    assert abs(columns.max() + 1 - 7 - text_width(text, 20)) <= 3
    brightest = canvas[rows, columns][canvas[rows, columns, 0].argmax()]
    np.testing.assert_allclose(brightest, RED, atol=3)


@pytest.mark.usefixtures("opencv_4")
@pytest.mark.parametrize("left_base", [(-13, 41), (180, 41), (7, 3), (7, 70), (-500, 41), (500, 41), (7, -90)])
def test_text_beyond_the_image_is_cut_off(left_base: tuple[int, int]) -> None:
    large = drawn(OMEGA, (left_base[0] + 600, left_base[1] + 200), shape=(600, 1300))
    np.testing.assert_array_equal(drawn(OMEGA, left_base), large[200:261, 600:799])


@pytest.mark.usefixtures("opencv_4")
def test_letters_that_no_font_has_are_question_marks_and_reported_once() -> None:
    lacking = "\U000f1234"  # of private use: "printable" would escape it
    lettering._fonts.cache_clear()
    with pytest.warns(RegardWarning, match="no installed font has the letters") as reported:
        np.testing.assert_array_equal(lettering._letters(f"Ω{lacking}", 20)[0], lettering._letters("Ω?", 20)[0])
    lettering._letters(f"Ω{lacking}", 23)
    assert len(reported) == 1


@pytest.mark.usefixtures("opencv_4")
def test_ascii_is_drawn_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    before, width = drawn("cat 0.87"), text_width("cat 0.87", 20)
    monkeypatch.setattr(lettering, "HAS_ALL_SCRIPTS", True)
    np.testing.assert_array_equal(before, drawn("cat 0.87"))
    assert width == text_width("cat 0.87", 20)
