"""Recipes by name, and YOLOv5's hyp.yaml files."""

from __future__ import annotations

from pathlib import Path

import pytest

from regard.config import DEFAULT_RECIPE, ULTRALYTICS_RECIPE, YOLOV5_RECIPE, AugmentSettings
from regard.config.hyp import HYP_KEYS, find_recipe
from regard.errors import RegardError, RegardWarning

PUBLISHED = """\
# the values of the stock file, all 29 keys
lr0: 0.01
lrf: 0.01
momentum: 0.937
weight_decay: 0.0005
warmup_epochs: 3.0
warmup_momentum: 0.8
warmup_bias_lr: 0.1
box: 0.05
cls: 0.5
cls_pw: 1.0
obj: 1.0
obj_pw: 1.0
iou_t: 0.20
anchor_t: 4.0
# anchors: 3
fl_gamma: 0.0
hsv_h: 0.015
hsv_s: 0.7
hsv_v: 0.4
degrees: 0.0
translate: 0.1
scale: 0.5
shear: 0.0
perspective: 0.0
flipud: 0.0
fliplr: 0.5
mosaic: 1.0
mixup: 0.0
copy_paste: 0.0
label_smoothing: 0.0
"""


@pytest.fixture
def hyp(tmp_path: Path) -> Path:
    return tmp_path / "hyp.mine.yaml"


def test_recipes_by_name() -> None:
    assert find_recipe("default") is DEFAULT_RECIPE
    assert find_recipe("yolov5") is YOLOV5_RECIPE
    scratch = find_recipe("scratch")
    assert scratch.optim == DEFAULT_RECIPE.optim.model_copy(update={"lr": 2 * DEFAULT_RECIPE.optim.lr})
    assert find_recipe("ultralytics") is ULTRALYTICS_RECIPE
    with pytest.raises(RegardError, match="did you mean 'yolov5'"):
        find_recipe("yolo5")


def test_the_stock_file_is_the_stock_recipe(hyp: Path) -> None:
    hyp.write_text(PUBLISHED)
    assert find_recipe(hyp) == YOLOV5_RECIPE.model_copy(update={"name": "hyp.mine"})


def test_every_key_reaches_its_setting(hyp: Path) -> None:
    values = {key: 0.0005 + i / 100_000 for i, key in enumerate(HYP_KEYS)} | {"anchor_t": 2.5}
    hyp.write_text("\n".join(f"{key}: {value}" for key, value in values.items()))
    recipe = find_recipe(hyp)
    for key, (group, name) in HYP_KEYS.items():
        assert getattr(getattr(recipe, group), name) == pytest.approx(values[key]), key


def test_what_is_left_out_is_as_in_the_stock_recipe(hyp: Path) -> None:
    hyp.write_text("lr0: 0.02\n")
    expected = YOLOV5_RECIPE.optim.model_copy(update={"lr": 0.02})
    assert find_recipe(hyp).optim == expected


@pytest.mark.parametrize("key", ["fl_gamma", "copy_paste"])
def test_what_is_not_offered_is_said(hyp: Path, key: str) -> None:
    hyp.write_text(f"lr0: 0.02\n{key}: 1.5\n")
    with pytest.warns(RegardWarning, match=rf"hyp\.mine\.yaml: {key}: 1.5 is not supported"):
        assert find_recipe(hyp).optim.lr == 0.02


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("lr0: 0.01\n\nfliprl: 0.5\n", 3, ("unknown hyper-parameter 'fliprl'", "did you mean 'fliplr'")),
        ("# note\nlr0: fast\n", 2, ("lr0 is 'fast'", "expected: a number")),
        ("mixup: 0.1\nmosaic: 1.5\n", 2, ("mosaic is 1.5", "expected: at most 1")),
        ("box: 0.05\ncls: [1, 2]\n", 2, ("cls is [1, 2]", "expected: a number")),
        ("lr0: 0.01\n  lrf: 0.1\n", 2, ("not valid YAML",)),
        ("- lr0\n", None, ("not a hyp.yaml",)),
        ("", None, ("not a hyp.yaml",)),
        ("7: 1\n", 1, ("unknown hyper-parameter 7",)),
    ],
)
def test_errors_name_file_and_line(hyp: Path, text: str, line: int | None, words: tuple[str, ...]) -> None:
    hyp.write_text(text)
    with pytest.raises(RegardError) as caught:
        find_recipe(hyp)
    assert str(caught.value).startswith(f"{hyp}:{line}: " if line else f"{hyp}: ")
    for word in words:
        assert word in str(caught.value)


def test_a_file_that_is_no_text(hyp: Path) -> None:
    hyp.write_bytes(b"\xfe\x00lr0")
    with pytest.raises(RegardError, match="cannot be read"):
        find_recipe(hyp)


def test_old_names_in_a_hyp_file(hyp: Path) -> None:
    hyp.write_text("lr0: 0.02\nflip_lr: 0.25\nflip_ud: 0.125\n")
    with pytest.warns(DeprecationWarning, match=r"hyp\.mine\.yaml: flip_(lr|ud) is now called flip(lr|ud)") as reported:
        recipe = find_recipe(hyp)
    assert (recipe.augment.fliplr, recipe.augment.flipud, len(reported)) == (0.25, 0.125, 2)
    hyp.write_text("fliplr: 0.5\nflip_lr: 0.25\n")
    with pytest.raises(RegardError, match="'flip_lr' and 'fliplr' are the same") as caught:
        find_recipe(hyp)
    assert caught.value.line == 2


def test_old_names_in_python_are_reported_where_they_are_written() -> None:
    with pytest.warns(DeprecationWarning, match="flip_lr is now called fliplr") as reported:
        assert AugmentSettings(flip_lr=0.25).fliplr == 0.25  # type: ignore[call-arg]
    assert [warning.filename for warning in reported] == [__file__]
    with pytest.raises(RegardError, match="'flip_lr' and 'fliplr' are the same"):
        AugmentSettings(flip_lr=0.25, fliplr=0.5)  # type: ignore[call-arg]
