"""Attention that reads several maps, alone and in a detector, in every format and at sizes that no export saw."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import parse_spec
from regard.nn.multi_scale import MultiScaleDeformable
from regard.runtimes import open_predictor
from regard.runtimes.compare import ALL
from regard.runtimes.convert import map_shapes, to_onnx, to_torchscript
from regard.runtimes.export import export_detector
from regard.runtimes.openvino import openvino_core

CHANNELS = (8, 5, 12)
EXAMPLE = (2, [(9, 13), (5, 7), (2, 3)])
UNSEEN = [(3, [(4, 6), (3, 2), (7, 5)]), (1, [(10, 14), (5, 7), (3, 4)])]
Run = Callable[[list[Tensor]], Tensor]


def some_maps(batch: int, sizes: list[tuple[int, int]]) -> list[Tensor]:
    return [torch.randn(batch, c, *size) for c, size in zip(CHANNELS, sizes, strict=True)]


def stirred() -> MultiScaleDeformable:
    """Return a layer whose points depend on the query."""
    torch.manual_seed(2)
    layer = MultiScaleDeformable(CHANNELS, 2, 3).eval()
    for linear in (layer.offsets, layer.weights):
        nn.init.normal_(linear.weight, std=0.5)
        nn.init.normal_(linear.bias)
    return layer


@cache
def document() -> bytes:
    pytest.importorskip("onnxscript")
    layer, example = stirred(), (some_maps(*EXAMPLE),)
    found: bytes = to_onnx(layer, example, map_shapes(example), opset=18).model_proto.SerializeToString()
    return found


def onnx_runtime() -> Run:
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(document(), options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(maps: list[Tensor]) -> Tensor:
        fed = dict(zip(names, (x.numpy() for x in maps), strict=True))
        return torch.from_numpy(session.run(None, fed)[0])

    return run


def openvino() -> Run:
    pytest.importorskip("openvino")
    core = openvino_core()
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(io.BytesIO(document())), "CPU", config)
    return lambda maps: torch.from_numpy(compiled([x.numpy() for x in maps])[0].copy())


def torchscript() -> Run:
    traced: Run = to_torchscript(stirred(), (some_maps(*EXAMPLE),))
    return traced


@pytest.mark.parametrize("export", [onnx_runtime, openvino, torchscript])
def test_the_layer_at_sizes_never_seen(export: Callable[[], Run]) -> None:
    layer, run = stirred(), export()
    for batch, sizes in (EXAMPLE, *UNSEEN):
        maps = some_maps(batch, sizes)
        with torch.no_grad():
            expected, found = layer(maps), run(maps)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * max(1, expected.abs().max().item()))


GRAPH = """
nc: 3
anchors: [[5,6, 8,15], [15,30, 31,22]]
backbone: [[-1, 1, Conv, [8, 3, 2]], [-1, 1, Conv, [16, 3, 2]], [-1, 1, Conv, [16, 3, 2]]]
head: [[[1, 2], 1, MultiScaleDeformable, [2, 3]], [[3, 2], 1, Detect, [nc, anchors]]]
"""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("a.onnx", marks=pytest.mark.slow),
        pytest.param("a_openvino", marks=pytest.mark.slow),
        "a.torchscript",
    ],
)
def test_a_detector_that_joins_levels(
    name: str, tmp_path: Path, noise: NDArray[np.uint8], excite: Callable[[Detector], Detector]
) -> None:
    for package in {"a.onnx": ("onnxscript", "onnxruntime"), "a_openvino": ("onnxscript", "openvino")}.get(name, ()):
        pytest.importorskip(package)
    torch.manual_seed(4)
    detector = excite(build(parse_spec(GRAPH, None)))
    layer = detector.layer(3)
    assert isinstance(layer, MultiScaleDeformable)
    nn.init.normal_(layer.offsets.weight, std=0.5)
    export_detector(detector, tmp_path / name)
    images = noise[None, :32, :48].transpose(0, 3, 1, 2)
    found, expected = (model.predict(images, ALL)[0] for model in (open_predictor(tmp_path / name), detector))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
