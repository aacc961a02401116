from __future__ import annotations

import pytest
import torch

import regard
from regard.errors import RegardError
from regard.profiling import memory
from regard.profiling.memory import LiveBytes, available_bytes, check_attention_fits, row_peaks

CPU = torch.device("cpu")


def test_bytes_are_counted_while_tensors_live() -> None:
    with LiveBytes() as mode:
        a = torch.zeros(7, 11)
        assert mode.live == 7 * 11 * 4
        b = a.double()
        assert mode.live == 7 * 11 * (4 + 8)
        c = b.view(-1)  # the same memory
        b.add_(1)
        assert mode.live == 7 * 11 * (4 + 8)
        del a
        assert mode.live == 7 * 11 * 8
        del b
        assert mode.live == 7 * 11 * 8
        del c
        assert mode.live == 0
    assert mode.peak == 7 * 11 * (4 + 8)


def test_peaks_of_rows_by_hand() -> None:
    model = regard.load("yolov5n").eval()
    peaks = row_peaks(model, torch.rand(1, 3, 64, 96))
    assert len(peaks) == len(model.model)
    # a convolution, its batch norm and its activation in place: two maps of 16 x 32 x 48 at a time
    assert 16 * 32 * 48 * 4 <= peaks[0] <= 3 * 16 * 32 * 48 * 4
    up = model.spec.index("head.p4_up")
    assert peaks[up] == 128 * 4 * 6 * 4  # nearest-neighbour upsampling makes its output and nothing else


def test_there_is_memory() -> None:
    assert available_bytes(CPU) > 2**28


WRITTEN_OUT = {"pos_embed": "relative"}  # in training: N x N scores


@pytest.mark.parametrize(
    ("module", "options", "name"),
    [
        ("MultiHeadSelfAttention", WRITTEN_OUT, "p3.multiheadselfattention"),
        (
            "C3Attention",
            {"attention": "MultiHeadSelfAttention", "options": WRITTEN_OUT},
            "p3.c3attention.m.0.attend",
        ),
    ],
)
def test_attention_that_cannot_fit_is_rejected_with_what_to_use(
    module: str, options: dict[str, object], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = regard.insert(regard.load("yolov5n"), module, after="p3", options=options)
    needed = 7 * 4 * 1600**2 * 4  # 7 images, weights of 4 heads, N^2, float32
    monkeypatch.setattr(memory, "available_bytes", lambda _: needed)
    with pytest.raises(RegardError) as caught:
        check_attention_fits(model, 320, 7, CPU)
    assert name in str(caught.value)
    assert "in their place, or a smaller --imgsz or --batch" in str(caught.value)
    monkeypatch.setattr(memory, "available_bytes", lambda _: 2 * needed)
    check_attention_fits(model, 320, 7, CPU)


def test_a_model_without_attention_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda _: 0)
    check_attention_fits(regard.load("yolov5n"), 320, 7, CPU)
