"""Every module as an ONNX graph and in TorchScript, of any batch and size, at sizes that the export never saw."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from catalogue import build, every_module, every_module_slowly
from numpy.typing import NDArray

from regard.nn.attention import ATTENTION, Attention
from regard.nn.attention.position import POSITIONS
from regard.runtimes.convert import INPUT, map_shapes, to_onnx, to_torchscript
from regard.runtimes.openvino import openvino_core

Array = NDArray[np.float32]
EXAMPLE = (2, 16, 9, 13)
UNSEEN = [(1, 16, 7, 5), (3, 16, 16, 12), (2, 16, 28, 21), (2, 16, 2, 3)]


def onnx_runtime(document: bytes) -> Callable[[Array], Array]:
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(document, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {INPUT: x})[0]


def openvino(document: bytes) -> Callable[[Array], Array]:
    pytest.importorskip("openvino")
    core = openvino_core()
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(io.BytesIO(document)), "CPU", config)
    return lambda x: compiled(x)[0]


@every_module_slowly
def test_exported(name: str) -> None:
    module = build(name, dtype=torch.float32)
    if module.card.obstacle:
        assert not ATTENTION[module.card.instead].card.obstacle
        return
    check_exported(module)


QUICK_POSITIONS = [("MultiHeadSelfAttention", "log_cpb"), ("ShiftedWindowAttention", "log_cpb")]
SLOW_POSITIONS = [(name, kind) for name in ("MultiHeadSelfAttention", "HaloAttention") for kind in POSITIONS]


@pytest.mark.parametrize(
    ("name", "positions"), QUICK_POSITIONS + [pytest.param(*pair, marks=pytest.mark.slow) for pair in SLOW_POSITIONS]
)
def test_positions_exported(name: str, positions: str) -> None:
    check_exported(build(name, dtype=torch.float32, pos_embed=positions))


def check_exported(module: Attention) -> None:
    """Relative to the output's scale, so that large activations count for no more than they are."""
    pytest.importorskip("onnxscript")
    example = torch.randn(EXAMPLE)
    program = to_onnx(module, (example,), map_shapes((example,)), opset=18)
    assert program.model.opset_imports[""] == 18
    document = program.model_proto.SerializeToString()
    for run in (onnx_runtime(document), openvino(document)):
        for shape in UNSEEN:
            x = torch.randn(shape)
            with torch.no_grad():
                expected = module(x)
            found = torch.from_numpy(run(x.numpy()))
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * max(1, expected.abs().max().item()))


@every_module
def test_torchscript(name: str) -> None:
    check_traced(build(name, dtype=torch.float32))


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("name", ["MultiHeadSelfAttention", "ShiftedWindowAttention", "HaloAttention"])
def test_positions_in_torchscript(name: str, positions: str) -> None:
    check_traced(build(name, dtype=torch.float32, pos_embed=positions))


def check_traced(module: Attention) -> None:
    """Tracing takes a tenth of a second, so that every module is tried."""
    if module.card.obstacle:
        return
    traced = to_torchscript(module, (torch.randn(EXAMPLE),))
    for shape in [*UNSEEN, (1, 16, 1, 1)]:
        x = torch.randn(shape)
        with torch.no_grad():
            expected, found = module(x), traced(x)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * max(1, expected.abs().max().item()))


@every_module
def test_an_obstacle_names_what_can_be_exported_instead(name: str) -> None:
    card = ATTENTION[name].card
    assert bool(card.obstacle) == bool(card.instead)
    if card.instead:
        assert not ATTENTION[card.instead].card.obstacle
