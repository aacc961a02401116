"""Users' classes of the shapes that exist: joins without a flag, constructors without channels, and what is unclear."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.read import parse_spec
from regard.graph.user_modules import import_modules

GRAPH = """nc: 2
depth_multiple: 0.33
width_multiple: 0.25
anchors: 3
backbone:
  - [-1, 1, Conv, [64, 6, 2, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [{one}]
  - [-1, 1, Conv, [128, 3, 1]]
  - [-1, 1, Conv, [256, 3, 1]]
head:
  - [[-1, {other}], 1, {many}]
  - [-1, 1, Conv, [256, 3, 1]]
  - [[-1], 1, Detect, [nc, anchors]]
"""


class WeightedCat(nn.Module):
    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim
        self.w = nn.Parameter(torch.ones(2))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return torch.cat([x * w for x, w in zip(maps, self.w, strict=True)], self.dim)


class Project(nn.Module):
    """A join that needs the channels of all its inputs."""

    def __init__(self, in_channels: Sequence[int], out: int = 24) -> None:
        super().__init__()
        self.mix = nn.Conv2d(sum(in_channels), out, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return self.mix(torch.cat(list(maps), 1))


class Add2(nn.Module):
    """A join whose channels are both stated in its row."""

    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(c1, c2, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return self.mix(maps[0] + maps[1])


class Unfold(nn.Module):
    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[..., i::2, j::2] for j in (0, 1) for i in (0, 1)], self.dim)


class Shuffle(nn.Module):
    """Its one argument has no default and is no number of channels."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] > self.groups
        return x.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


class Weigh(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid()


class Unclear(nn.Module):
    """Works whatever its argument means."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + self.size)


class Decided(Unclear):
    takes_channels = False


class Broken(nn.Module):
    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(c1 + 1, c2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x)


MODULES = {c.__name__: c for c in (WeightedCat, Project, Add2, Unfold, Shuffle, Weigh, Unclear, Decided, Broken)}


def detector_of(one: str = "-1, 1, Conv, [128]", many: str = "Concat, [1]", other: int = 3):  # type: ignore[no-untyped-def]
    return build(parse_spec(GRAPH.format(one=one, many=many, other=other), None), modules=MODULES)


@pytest.mark.parametrize(
    ("many", "channels"), [("WeightedCat, [1]", 96), ("WeightedCat, []", 96), ("Project, [40]", 40)]
)
def test_a_class_that_joins_needs_no_flag(many: str, channels: int) -> None:
    detector = detector_of(many=many)
    assert detector.spec.info[detector.spec.layers[5].name].out_channels == channels
    detector.train()
    assert detector(torch.rand(2, 3, 64, 64))[0].shape[0] == 2


@pytest.mark.parametrize("args", ["[256, 160]", "[64, 40]"])
def test_a_join_with_both_numbers_of_channels_gets_no_further_one(args: str) -> None:
    detector = detector_of("-1, 1, Conv, [256]", f"Add2, {args}", 2)
    assert detector.spec.info[detector.spec.layers[5].name].arguments == (64, 40)
    again = build(parse_spec(detector.spec.to_yaml(), None), modules=MODULES)
    assert again.spec.info == detector.spec.info


def test_a_join_with_other_numbers_of_channels_is_rejected_for_its_own_error() -> None:
    with pytest.raises(RegardError, match="expected input") as caught:
        detector_of("-1, 1, Conv, [256]", "Add2, [104, 160]", 2)
    assert "first argument" not in (caught.value.hint or "")


def test_a_join_of_different_sizes_is_a_wiring_error() -> None:
    with pytest.raises(RegardError, match="different sizes"):
        detector_of(many="WeightedCat, [1]", other=0)


@pytest.mark.parametrize(
    ("one", "channels", "stride"),
    [
        ("Unfold, [1]", 128, 8),
        ("Unfold, []", 128, 8),
        ("Shuffle, [8]", 32, 4),
        ("Weigh, []", 32, 4),
        ("Decided, [2]", 32, 4),
    ],
)
def test_arguments_that_are_no_channels_are_passed_as_written(one: str, channels: int, stride: int) -> None:
    detector = detector_of(one=f"-1, 1, {one}")
    info = detector.spec.info[detector.spec.layers[2].name]
    assert (info.out_channels, info.stride) == (channels, stride)
    again = build(parse_spec(detector.spec.to_yaml(), None), modules=MODULES)
    assert again.state_dict().keys() == detector.state_dict().keys()


def test_the_value_of_the_argument_arrives() -> None:
    assert detector_of(one="-1, 1, Decided, [2]").model[2].size == 2
    assert detector_of(one="-1, 1, Shuffle, [4]").model[2].groups == 4


def test_a_class_that_works_both_ways_is_asked_about() -> None:
    with pytest.raises(RegardError, match="works both") as caught:
        detector_of(one="-1, 1, Unclear, []")
    assert "takes_channels" in str(caught.value)


def test_what_fails_both_ways_is_reported_as_with_channels() -> None:
    with pytest.raises(RegardError, match=r"Broken\(32, .*failed"):
        detector_of(one="-1, 1, Broken, [64]")


FILE = """from torch import nn

class Divide(nn.Module):
    def __init__(self, c1, groups=2):
        super().__init__()
        self.size = 7 // (groups // 100)
    def forward(self, x):
        return x

def soft_gate(x):
    return x * x.sigmoid()

limit = 3
"""


def test_a_function_that_was_not_named_is_found_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "fork_gates.py"
    file.write_text(FILE)
    modules = import_modules([str(file)])
    with pytest.raises(RegardError, match=f"{file}:soft_gate"):
        build(parse_spec(GRAPH.format(one="-1, 1, soft_gate, []", many="Concat, [1]", other=3), None), modules=modules)
    with pytest.raises(RegardError, match="no layer but of type int"):
        build(parse_spec(GRAPH.format(one="-1, 1, limit, []", many="Concat, [1]", other=3), None), modules=modules)
    with pytest.raises(RegardError, match="soft_gate"):
        import_modules([f"{file}:soft_gat"])
    modules = import_modules([f"{file}:soft_gate"])
    with pytest.raises(RegardError, match=f"{file}:Divide"):
        build(parse_spec(GRAPH.format(one="-1, 1, Divide, []", many="Concat, [1]", other=3), None), modules=modules)
    file.write_text(FILE[FILE.index("def soft") :])
    with pytest.raises(RegardError, match="defines no layer") as caught:
        import_modules([str(file)])
    assert f"{file}:soft_gate" in (caught.value.hint or "")


def test_an_error_inside_a_class_names_its_call_and_its_line(tmp_path: Path) -> None:
    file = tmp_path / "fork_errors.py"
    file.write_text(FILE)
    graph = parse_spec(GRAPH.format(one="-1, 1, Divide, [128, 64]", many="Concat, [1]", other=3), None)
    with pytest.raises(RegardError) as caught:
        build(graph, modules=import_modules([str(file)]))
    assert "Divide(32, groups=64)" in caught.value.what
    assert f"{file}:6" in (caught.value.hint or "")
