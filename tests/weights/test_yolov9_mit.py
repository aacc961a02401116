"""Weights of YOLOv9's MIT-licensed package: equal predictions to its network, written out here as formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.api import load
from regard.errors import RegardError, RegardWarning
from regard.geometry.boxes import cxcywh_to_xyxy
from regard.weights.yolov9_mit import from_mit_layout

NC, BINS, GROUPS = 7, 16, 4


class Network:
    """The network of that package by its key names; a tensor is drawn where it is used first."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}
        self.random = torch.Generator().manual_seed(29)

    def draw(self, name: str, *shape: int, low: float = -1.0, high: float = 1.0) -> Tensor:
        if name not in self.state:
            self.state[name] = torch.rand(shape, generator=self.random) * (high - low) + low
        return self.state[name]

    def plain(self, name: str, x: Tensor, out: int, side: int, stride: int = 1, groups: int = 1) -> Tensor:
        inputs = x.shape[1] // groups
        bound = 2 / (inputs * side * side) ** 0.5
        weight = self.draw(f"{name}.weight", out, inputs, side, side, low=-bound, high=bound)
        bias = None if name.endswith("conv") else self.draw(f"{name}.bias", out)
        return F.conv2d(x, weight, bias, stride, side // 2, groups=groups)

    def linear(self, name: str, x: Tensor, out: int, side: int = 1, stride: int = 1, groups: int = 1) -> Tensor:
        y = self.plain(f"{name}.conv", x, out, side, stride, groups)
        self.state.setdefault(f"{name}.bn.num_batches_tracked", torch.tensor(5))
        mean, variance = self.draw(f"{name}.bn.running_mean", out), self.draw(f"{name}.bn.running_var", out, low=0.5)
        scale, shift = self.draw(f"{name}.bn.weight", out, low=0.5), self.draw(f"{name}.bn.bias", out)
        return F.batch_norm(y, mean, variance, scale, shift, eps=1e-3)

    def conv(self, name: str, x: Tensor, out: int, side: int = 1, stride: int = 1, groups: int = 1) -> Tensor:
        return F.silu(self.linear(name, x, out, side, stride, groups))

    def csp(self, name: str, x: Tensor, out: int, repeats: int) -> Tensor:
        left, right = (self.conv(f"{name}.conv{i}", x, out // 2) for i in (1, 2))
        for i in range(repeats):
            inner = f"{name}.bottleneck.{i}"
            both = (self.linear(f"{inner}.conv1.conv{j}", left, out // 2, side) for j, side in ((1, 3), (2, 1)))
            left = left + self.conv(f"{inner}.conv2", F.silu(sum(both)), out // 2, 3)  # type: ignore[arg-type]
        return self.conv(f"{name}.conv3", torch.cat((left, right), 1), out)

    def gelan(self, row: int, x: Tensor, out: int, part: int, repeats: int) -> Tensor:
        maps = list(self.conv(f"{row}.conv1", x, part).chunk(2, 1))
        for i in (2, 3):
            y = self.csp(f"{row}.conv{i}.0", maps[-1], part // 2, repeats)
            maps.append(self.conv(f"{row}.conv{i}.1", y, part // 2, 3))
        return self.conv(f"{row}.conv4", torch.cat(maps, 1), out)

    def elan(self, row: int, x: Tensor, out: int) -> Tensor:
        maps = list(self.conv(f"{row}.conv1", x, out).chunk(2, 1))
        for i in (2, 3):
            maps.append(self.conv(f"{row}.conv{i}", maps[-1], out // 2, 3))
        return self.conv(f"{row}.conv4", torch.cat(maps, 1), out)

    def down(self, row: int, x: Tensor, out: int, halves: bool) -> Tensor:
        x = F.avg_pool2d(x, 2, 1)
        if not halves:
            return self.conv(f"{row}.conv", x, out, 3, 2)
        first, second = x.chunk(2, 1)
        first = self.conv(f"{row}.conv1", first, out // 2, 3, 2)
        return torch.cat((first, self.conv(f"{row}.conv2", F.max_pool2d(second, 3, 2, 1), out // 2)), 1)

    def pools(self, row: int, x: Tensor, out: int) -> Tensor:
        maps = [self.conv(f"{row}.conv1", x, out // 2)]
        for _ in range(3):
            maps.append(F.max_pool2d(maps[-1], 5, 1, 2))
        return self.conv(f"{row}.conv5", torch.cat(maps, 1), out)

    def head(self, row: int, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        boxes, scores = [], []
        wide = max(levels[0].shape[1], min(2 * NC, 128))
        narrow = max(levels[0].shape[1] // 4, 4 * BINS)
        for i, (x, stride) in enumerate(zip(levels, (8, 16, 32), strict=True)):
            box, cls = f"{row}.heads.{i}.anchor_conv", f"{row}.heads.{i}.class_conv"
            y = self.conv(f"{box}.1", self.conv(f"{box}.0", x, narrow, 3), narrow, 3, groups=GROUPS)
            y = self.plain(f"{box}.2", y, 4 * BINS, 1, groups=GROUPS)
            bins = torch.arange(float(BINS)).view(1, BINS, 1, 1, 1)
            self.state[f"{row}.heads.{i}.anc2vec.anc2vec.weight"] = bins
            sides = (y.view(len(y), 4, BINS, *y.shape[2:]).softmax(2) * bins.view(1, 1, BINS, 1, 1)).sum(2)
            height, width = x.shape[2:]
            centres = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")) + 0.5
            corners = torch.cat((centres - sides[:, :2], centres + sides[:, 2:]), 1) * stride
            boxes.append(corners.flatten(2))
            y = self.conv(f"{cls}.1", self.conv(f"{cls}.0", x, wide, 3), wide, 3)
            scores.append(self.plain(f"{cls}.2", y, NC, 1).sigmoid().flatten(2))
        return torch.cat(boxes, 2), torch.cat(scores, 2)

    def detect(self, x: Tensor, c: list[int], downs: tuple[int, int], split: int, repeats: int) -> list[Tensor]:
        """Rows 0 to 21; ``c`` are the channels of the stem, P2, P3, P4, P5 and of the output at P3."""
        halves = repeats == 1
        x = self.conv("1", self.conv("0", x, c[0], 3, 2), 2 * c[0], 3, 2)
        x = self.gelan(2, x, c[1], split, repeats) if halves else self.elan(2, x, c[1])
        kept, part = [], c[2] // 2 if halves else c[2]
        for row, width, before in ((3, c[2], c[1]), (5, c[3], c[2]), (7, c[4], c[3])):
            x = self.down(row, x, before if halves else width, halves)
            x = self.gelan(row + 1, x, width, part if row == 3 else width, repeats)
            kept.append(x)
        p3, p4, p5 = kept
        p5 = self.pools(9, p5, c[4])
        n4 = self.gelan(12, torch.cat((F.interpolate(p5, scale_factor=2.0), p4), 1), c[3], c[3], repeats)
        o3 = self.gelan(15, torch.cat((F.interpolate(n4, scale_factor=2.0), p3), 1), c[5], c[5], repeats)
        o4 = self.gelan(18, torch.cat((self.down(16, o3, downs[0], halves), n4), 1), c[3], c[3], repeats)
        o5 = self.gelan(21, torch.cat((self.down(19, o4, downs[1], halves), p5), 1), c[4], c[4], repeats)
        return [o3, o4, o5]


TINY = ([16, 32, 64, 96, 128, 64], (48, 64), 32, 3)
COMPACT = ([64, 256, 512, 512, 512, 256], (256, 512), 128, 1)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "sizes", "form"), [("yolov9t", TINY, "training"), ("yolov9c", COMPACT, "rows")], ids=["t", "c"]
)
def test_predictions_are_those_of_the_package(tmp_path: Path, name: str, sizes: tuple[Any, ...], form: str) -> None:
    network, x = Network(), torch.rand(1, 3, 64, 96)
    boxes, scores = network.head(22, network.detect(x, *sizes))
    content: dict[str, object] = dict(network.state)
    if form == "training":
        content = {"state_dict": {f"model.model.{key}": tensor for key, tensor in content.items()}, "epoch": 3}
    torch.save(content, tmp_path / "v9.pt")
    detector = load(tmp_path / "v9.pt")
    found = detector(x)
    assert [layer.name for layer in detector.spec.layers] == [layer.name for layer in load(name).spec.layers]
    assert detector.nc == NC
    torch.testing.assert_close(cxcywh_to_xyxy(found.boxes)[0].T, boxes[0], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(found.scores[0].T, scores[0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("row", "other"), [(22, 30), (38, 37)], ids=["released files", "early files"])
def test_the_auxiliary_branch_is_left_out_with_a_warning(row: int, other: int) -> None:
    network = Network()
    network.head(row, network.detect(torch.rand(1, 3, 64, 64), *TINY))
    expected = from_mit_layout(network.state)
    head = {key: tensor for key, tensor in network.state.items() if key.startswith(f"{row}.heads.")}
    extra = {f"{other}.{key.split('.', 1)[1]}": tensor + 1 for key, tensor in head.items()}
    with pytest.warns(RegardWarning, match=f"{len(extra)} tensors"):
        found = from_mit_layout(extra | network.state)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)
    assert torch.equal(found["model.22.cv3.0.2.bias"], network.state[f"{row}.heads.0.class_conv.2.bias"])


@torch.no_grad()
def test_what_would_predict_something_else_is_refused() -> None:
    network = Network()
    network.head(22, network.detect(torch.rand(1, 3, 64, 64), *TINY))
    bins, grouped = "22.heads.1.anc2vec.anc2vec.weight", "22.heads.2.anchor_conv.1.conv.weight"
    with pytest.raises(RegardError, match="bins"):
        from_mit_layout(network.state | {bins: torch.arange(1.0, 17).view(1, 16, 1, 1, 1)})
    with pytest.raises(RegardError, match="box branch"):
        from_mit_layout(network.state | {grouped: torch.rand(64, 13, 3, 3)})


def test_a_single_number_among_the_weights_is_one_clear_error(tmp_path: Path) -> None:
    torch.save({"0.conv.weight": torch.tensor(3.0), "22.heads.0.class_conv.2.bias": torch.zeros(7)}, tmp_path / "a.pt")
    with pytest.raises(RegardError, match=r"a\.pt"):
        load(tmp_path / "a.pt")
