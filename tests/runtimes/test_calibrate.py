"""bfloat16 only where the user's own labelled images allow it, measured once."""

from __future__ import annotations

from pathlib import Path

import pytest
from few_images import few_of_coco128

from regard.errors import RegardWarning
from regard.runtimes import calibrate as calibrate_module
from regard.runtimes import open_predictor
from regard.runtimes.base import Session, SessionOptions
from regard.runtimes.cache import key_of
from regard.runtimes.calibrate import Calibration, calibration_file
from regard.runtimes.openvino import OpenVINO

needs_bfloat16 = pytest.mark.skipif(
    not OpenVINO().has_bfloat16(), reason="needs OpenVINO and a processor with bfloat16"
)


@pytest.mark.parametrize(("lower", "allowed"), [(0.500, True), (0.4981, True), (0.4979, False), (float("nan"), False)])
def test_two_thousandths_are_the_limit(lower: float, allowed: bool) -> None:
    measured = Calibration(data="d", split="val", images=3, imgsz=64, ap_float32=0.5, ap_lower=lower)
    assert measured.allows_lower == allowed
    assert ("bfloat16 is used" if allowed else "float32 is used") in str(measured)


@pytest.mark.usefixtures("cache")
def test_without_data_it_is_float32_with_a_warning(weights: Path) -> None:
    with pytest.warns(RegardWarning, match="float32 without --calibration"):
        open_predictor(weights, device="cpu", backend="onnxruntime", precision="auto")


@needs_bfloat16
@pytest.mark.parametrize("loss", [0.0, 0.01])
def test_measured_once_and_kept_next_to_the_model(
    weights: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    data = tmp_path / "data.yaml"
    data.write_text("names: {}")
    calls: list[str] = []

    def measured(_full: object, _lower: object, given: str, imgsz: int) -> Calibration:
        calls.append(given)
        return Calibration(data=given, split="val", images=3, imgsz=imgsz, ap_float32=0.5, ap_lower=0.5 - loss)

    monkeypatch.setattr(calibrate_module, "calibrate", measured)
    opened: list[bool] = []
    original = OpenVINO.open

    def opening(self: OpenVINO, path: Path, options: SessionOptions) -> Session:
        opened.append(options.bfloat16)
        return original(self, path, options)

    monkeypatch.setattr(OpenVINO, "open", opening)
    for _ in range(2):
        opened.clear()
        predictor = open_predictor(
            weights, device="cpu", backend="onnxruntime", precision="auto", calibration=str(data), imgsz=64
        )
        assert isinstance(predictor, Session)
    assert opened == ([True] if loss == 0 else [])  # the second time nothing but what is used
    assert calls == [str(data)]
    entry = cache / key_of(weights, OpenVINO())
    assert calibration_file(entry, str(data), 64).is_file()
    assert calibration_file(entry, str(data), 96) != calibration_file(entry, str(data), 64)
    data.write_text("names: {0: changed}")
    assert not calibration_file(entry, str(data), 64).is_file()


@needs_bfloat16
@pytest.mark.usefixtures("cache")
def test_both_precisions_are_measured_on_the_data(weights: Path, shared: Path, tmp_path: Path) -> None:
    data = str(few_of_coco128(shared, tmp_path, 5))
    with pytest.MonkeyPatch.context() as patch:
        found: list[Calibration] = []
        original = calibrate_module.calibrate
        patch.setattr(calibrate_module, "calibrate", lambda *a: found.append(original(*a)) or found[0])  # type: ignore[func-returns-value]
        open_predictor(weights, device="cpu", backend="onnxruntime", precision="auto", calibration=data, imgsz=320)
    (measured,) = found
    assert (measured.images, measured.split, measured.imgsz) == (5, "val", 320)
    assert 0.1 < measured.ap_float32 < 1
    assert abs(measured.ap_float32 - measured.ap_lower) < 0.1
