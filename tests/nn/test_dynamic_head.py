"""The dynamic head by its equations, against torchvision's deformable convolution, and in heads of both families."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import regard
from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.dialects.external import PACKAGES, write
from regard.graph.read import parse_spec, read_spec
from regard.nn.dynamic_head import DynamicBlock, DynamicHead, GatedLevels
from regard.visualize.attend import attention_layers

STRIDES = (8, 16, 32)
SIZES = [(8, 12), (4, 6), (2, 3)]


def close(found: Tensor, expected: Tensor, atol: float = 1e-11) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def stirred(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.double().eval()


def block(channels: int = 5, strides: tuple[int, ...] = STRIDES) -> DynamicBlock:
    module = stirred(DynamicBlock(channels, strides))
    assert isinstance(module, DynamicBlock)
    return module


def some_maps(channels: tuple[int, ...] = (5, 5, 5), batch: int = 2) -> list[Tensor]:
    return [torch.randn(batch, c, *size, dtype=torch.float64) for c, size in zip(channels, SIZES, strict=False)]


def sampled(x: Tensor, at: Tensor) -> Tensor:
    """Values at (row, column) between 0 and 1 of the image: (B, C, H, W), (B, N, 2) -> (B, C, N)."""
    return F.grid_sample(x, 2 * at.flip(-1)[:, None] - 1, align_corners=False)[:, :, 0]


def by_equations(module: DynamicBlock, maps: list[Tensor]) -> list[Tensor]:
    levels = len(maps)
    means = torch.stack([x.mean((1, 2, 3)) for x in maps], 1)
    hat = ((means @ module.scale.weight.T + module.scale.bias + 1) / 2).clamp(0, 1)
    scaled = [x * hat[:, n, None, None, None] for n, x in enumerate(maps)]
    summed = []
    for n, x in enumerate(scaled):
        height, width = x.shape[2:]
        predicted = module.where(x).flatten(2)
        total = torch.zeros(*x.shape[:2], height * width, dtype=x.dtype)
        near = [m for m in (n - 1, n, n + 1) if 0 <= m < levels]
        for m in near:
            own = torch.tensor(scaled[m].shape[2:], dtype=torch.float64)
            weight = module.matrices[m - n + 1].weight.unflatten(1, (9, -1))  # type: ignore[operator]
            for k in range(9):
                step = predicted[:, 2 * k : 2 * k + 2].mT + torch.tensor([k // 3 - 1, k % 3 - 1])
                grid = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1)
                middle = (grid.flatten(0, 1).double() + 0.5) / torch.tensor([height, width])
                values = sampled(scaled[m], middle + step / own) * predicted[:, 18 + k, None].sigmoid()
                total += torch.einsum("oc,bcn->bon", weight[:, k], values)
        summed.append((total / len(near)).view(x.shape))
    mean = sum(x.mean((2, 3)) for x in summed) / levels
    t = (2 * module.task(mean).sigmoid() - 1).chunk(4, 1)
    a, b, c, d = (part[..., None, None] for part in (1 + t[0], t[2] / 2, t[1], t[3] / 2))
    return [torch.maximum(a * x + b, c * x + d) for x in summed]


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_block_by_its_equations(levels: int) -> None:
    module, maps = block(strides=STRIDES[:levels]), some_maps()[:levels]
    for found, expected in zip(module(maps), by_equations(module, maps), strict=True):
        close(found, expected)


def test_one_level_is_a_modulated_deformable_convolution() -> None:
    ops = pytest.importorskip("torchvision.ops")
    module, x = block(strides=(8,)), some_maps()[0]
    predicted = module.where(x)
    weight = module.matrices[1].weight.unflatten(1, (9, -1)).mT.unflatten(-1, (3, 3))  # type: ignore[operator]
    expected = ops.deform_conv2d(x, predicted[:, :18], weight, padding=1, mask=predicted[:, 18:].sigmoid())
    close(module.aggregated([x], 0), expected)


def test_levels_are_neighbours_by_stride_in_any_order() -> None:
    module, maps = block(), some_maps()
    order = [2, 0, 1]
    other = DynamicBlock(5, [STRIDES[i] for i in order]).double()
    other.load_state_dict(module.state_dict())
    with torch.no_grad():
        other.scale.weight.copy_(module.scale.weight[order][:, order])
        other.scale.bias.copy_(module.scale.bias[order])
    for found, expected in zip(other([maps[i] for i in order]), [module(maps)[i] for i in order], strict=True):
        close(found, expected)


def test_it_starts_from_a_mean_of_the_square_and_relu() -> None:
    module, maps = DynamicBlock(5, STRIDES).double(), some_maps()
    summed = [module.aggregated(maps, n) for n in range(3)]
    for found, x in zip(module.activated(summed), summed, strict=True):
        close(found, x.relu())


def test_gradients() -> None:
    module = stirred(DynamicHead([3, 4], hidden=2, strides=(8, 16)))
    maps = [torch.randn(1, c, *size, dtype=torch.float64, requires_grad=True) for c, size in ((3, (4, 4)), (4, (2, 2)))]
    assert torch.autograd.gradcheck(lambda *given: tuple(module(list(given))), maps)


def test_every_parameter_learns_and_the_gate_closes_all() -> None:
    module = stirred(DynamicHead([3, 4, 5], 2, strides=STRIDES))
    maps = some_maps((3, 4, 5))
    gated = GatedLevels(module).double()
    assert all(torch.equal(y, x) for y, x in zip(gated(maps), maps, strict=True))
    nn.init.ones_(gated.gamma)
    for found, expected in zip(gated(maps), module(maps), strict=True):
        close(found, expected)
    sum(y.square().sum() for y in gated(maps)).backward()
    assert not [key for key, p in gated.named_parameters() if p.grad is None or not p.grad.any()]


def test_the_map_shows_the_samples_of_a_query() -> None:
    module, maps = DynamicHead([5, 5, 5], 2, strides=STRIDES).double(), some_maps()
    first = module.blocks[0]
    assert isinstance(first, DynamicBlock)
    found = module.attention(maps, (3, 5)).weights
    assert found.shape == (2, 2, 1, 8, 12)
    common = [into(x) for into, x in zip(module.to_common, maps, strict=True)]
    scales = torch.stack([s.flatten() for s in first.scales(common)], 1)
    close(found[:, 0].sum((1, 2, 3)), scales[:, :2].sum(1) * 9 / 2 / 2)  # M is 1 / 2, of two levels
    seen = found[0, 0, 0] > 0
    assert seen[2:5, 4:7].all()
    assert not seen[:, 10:].any()


# ------------------------------------------------------------------------------------------------ in a detector

ROWS = """
nc: 2
depth_multiple: 0.33
width_multiple: 0.25
{top}
backbone:
  - [-1, 1, Conv, [64, 6, 2, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [-1, 1, Conv, [512, 3, 2]]
head:
  - [[2, 3], 1, {head}]
"""
HEADS = {
    "YOLOv5": ("anchors: 3", "Detect, [nc, anchors, {args}]"),
    "fused": ("anchors: 3", "ASFF_Detect, [nc, anchors, {args}]"),
    "decoupled": ("anchors: 3", "Decoupled_Detect, [nc, anchors, {args}]"),
    "anchor-free": ("scales: {n: [0.33, 0.25, 1024]}", "Detect, [nc, {args}]"),
    "one-to-one": ("scales: {n: [0.33, 0.25, 1024]}\nend2end: true", "Detect, [nc, {args}]"),
    "v10": ("scales: {n: [0.33, 0.25, 1024]}", "v10Detect, [nc, {args}]"),
}
DYHEAD = "{attention: DyHead, attention_options: {blocks: 2, hidden: 16}}"


def text(kind: str, args: str = DYHEAD) -> str:
    top, head = HEADS[kind]
    return ROWS.replace("{top}", top).replace("{head}", head.replace(", {args}", f", {args}" if args else ""))


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_with_it_starts_as_the_head_without(kind: str) -> None:
    plain = build(parse_spec(text(kind, ""), None)).eval()
    detector = build(parse_spec(text(kind), None)).eval()
    attend = detector.head.attend
    assert isinstance(attend, GatedLevels)
    assert len(attend.module.blocks) == 2  # type: ignore[arg-type]
    missing = detector.load_state_dict(plain.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert all(".attend." in key for key in missing.missing_keys)
    x = torch.rand(2, 3, 64, 96)
    assert torch.equal(detector(x).scores, plain(x).scores)
    assert torch.equal(detector(x).boxes, plain(x).boxes)
    nn.init.ones_(attend.gamma)
    assert not torch.equal(detector(x).scores, plain(x).scores)
    for form in ("to_yaml", "to_ultralytics_yaml" if plain.spec.anchors is None else "to_yolov5_yaml"):
        again = build(parse_spec(getattr(detector.spec, form)(), None)).eval()
        again.load_state_dict(detector.state_dict())
        assert torch.equal(again(x).scores, detector(x).scores), form


@pytest.mark.parametrize(("base", "head"), [("yolov5n", "Detect"), ("yolov8n", "AnchorFreeDetect")])
def test_an_overlay_adds_it_and_keeps_all_weights(tmp_path: Path, base: str, head: str) -> None:
    overlay = tmp_path / "dynamic.yaml"
    overlay.write_text(f"base: {base}\nreplace:\n  - {{layer: detect, module: {head}, args: {{attention: DyHead}}}}\n")
    source = regard.load(base)
    detector = regard.replace(source, "detect", head, options={"attention": "DyHead"})
    assert detector.spec.layers == read_spec(overlay).layers
    old, new = source.state_dict(), detector.state_dict()
    assert all(torch.equal(new[key], value) for key, value in old.items())
    x = torch.rand(1, 3, 64, 96)
    assert torch.equal(detector.eval()(x).scores, source.eval()(x).scores)
    assert regard.cost(detector, imgsz=64, repeats=1).flops > regard.cost(source, imgsz=64, repeats=1).flops


def test_it_can_be_looked_at() -> None:
    detector = build(parse_spec(text("YOLOv5"), None))
    name = f"{detector.spec.layers[-1].name}.attend"
    image = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    view = regard.attend(detector, image, layer=name, imgsz=96)
    assert view.module == "DynamicHead"
    assert [(entry.name, entry.stride) for entry in attention_layers(detector)] == [(name, 8)]
    assert view.map.weights.shape == (1, 2, 1, 8, 12)  # type: ignore[union-attr]


SLOW = [pytest.param(kind, "onnx", marks=pytest.mark.slow) for kind in ("YOLOv5", "anchor-free")]


@pytest.mark.parametrize(("kind", "suffix"), [("YOLOv5", "torchscript"), ("anchor-free", "torchscript"), *SLOW])
def test_exported_files_predict_the_same(tmp_path: Path, kind: str, suffix: str) -> None:
    if suffix == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    torch.manual_seed(3)
    detector = build(parse_spec(text(kind), None)).eval()
    nn.init.constant_(detector.head.attend.gamma, 0.7)  # type: ignore[union-attr, arg-type]
    assert regard.export(detector, tmp_path / f"m.{suffix}", imgsz=64).passed


@pytest.mark.parametrize("kind", ["YOLOv5", "anchor-free"])
def test_raw_levels_of_a_compiled_model_have_passed_it(kind: str) -> None:
    head = build(parse_spec(text(kind), None)).eval().head
    nn.init.constant_(head.attend.gamma, 0.7)  # type: ignore[union-attr, arg-type]
    features = [torch.randn(1, 64, 6, 10) * 3, torch.randn(1, 128, 3, 5) * 3]
    exported, decoder = head.raw_export()  # type: ignore[misc]
    with torch.no_grad():
        raw = [level.numpy()[0] for level in exported(features)]
        (expected,) = head.select(head(features), 0.001)
    np.testing.assert_allclose(decoder.decode(raw, 0.001), expected.numpy(), rtol=1e-4, atol=1e-3)


def test_other_packages_do_not_have_it() -> None:
    for kind, package in (("YOLOv5", "yolov5"), ("anchor-free", "ultralytics")):
        detector = build(parse_spec(text(kind), None))
        with pytest.raises(RegardError, match="has attention"):
            write(detector.spec, PACKAGES[package], detector.names)


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ("{attention: DyHed}", "no attention 'DyHed'"),
        ("{attention: DyHead, attention_options: {blocs: 2}}", "has no option 'blocs'"),
        ("{attention: DyHead, attention_options: {blocks: 0}}", "blocks 0 is too small"),
        ("{attention_options: {blocks: 2}}", "but no attention"),
    ],
)
@pytest.mark.parametrize("kind", ["YOLOv5", "anchor-free"])
def test_rejected_options(kind: str, args: str, match: str) -> None:
    with pytest.raises(RegardError, match=match):
        build(parse_spec(text(kind, args), None))
