"""Constructors of every form, and what a row's arguments become."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from hand_edits import FILE
from torch import Tensor, nn

from regard.errors import RegardError
from regard.graph.bind import scale_channels, unscale_channels
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.edit import insert
from regard.graph.read import parse_spec, read_spec
from regard.graph.signature import signature_of
from regard.graph.user_modules import import_modules, reference_to
from regard.nn.gate import Gated


class Same(nn.Module):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()
        self.seen = (args, options)

    def forward(self, x: Tensor) -> Tensor:
        return x


class Ours(Same):
    def __init__(self, in_channels: int, ratio: int = 16, *, temperature: float = 1.0) -> None:
        super().__init__(in_channels, ratio, temperature)


class Open(Same):
    def __init__(self, in_channels: int, **options: Any) -> None:
        super().__init__(in_channels, **options)


class Theirs(Same):
    def __init__(self, c1: int, c2: int, *args: Any) -> None:
        super().__init__(c1, c2, *args)


class Wider(Same):
    def __init__(self, c1: int, c2: int) -> None:
        super().__init__(c1, c2)
        self.conv = nn.Conv2d(c1, c2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class Typed(Same):
    def __init__(
        self,
        c1: int,
        ratio: int = 16,
        *,
        sizes: list[int] | None = None,
        kind: Literal["max", "mean"] = "max",
        wrongly: int = None,  # type: ignore[assignment]  # noqa: RUF013
        share: float = 0.5,
        layer: nn.Module | None = None,
    ) -> None:
        super().__init__(c1, ratio, sizes, kind, wrongly, share, layer)


class Unstated(Same):
    def __init__(self, c1: int, ratio: Nowhere = 16) -> None:  # type: ignore[name-defined]  # noqa: F821
        super().__init__(c1, ratio)


class Quits(Same):
    def __init__(self, c1: int) -> None:
        raise SystemExit(c1)


class SpatialOnly(Same):
    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__(kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError(f"an even kernel for {x.ndim} dimensions")


class Stacked(Same):
    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True) -> None:
        super().__init__(c1, c2, n, shortcut)


class Needy(Same):
    def __init__(self, c1: int, c2: int, kernel: int) -> None:
        super().__init__(c1, c2, kernel)


class Total(nn.Module):
    multi_input: ClassVar[bool] = True

    def __init__(self, in_channels: Sequence[int], scale: float = 1.0) -> None:
        super().__init__()
        self.seen = (list(in_channels), scale)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        size = maps[0].shape[2:]
        return sum((nn.functional.adaptive_avg_pool2d(x, size) for x in maps), torch.zeros(()))


class Pair(Ours):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return x, x


class NoChannels(nn.Module):
    def __init__(self) -> None:
        super().__init__()


CLASSES = (Ours, Open, Theirs, Wider, Typed, Unstated, Quits, SpatialOnly, Stacked, Needy, Total, Pair, NoChannels)
MODULES: dict[str, type[nn.Module]] = {c.__name__: c for c in CLASSES}
MODEL = """\
nc: 7
depth_multiple: 0.5
width_multiple: 0.25
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - ROW
head:
  - [[-1], 1, Detect, [nc, anchors]]
"""


def detector(row: str) -> Detector:
    return build(parse_spec(MODEL.replace("ROW", row), FILE), modules=MODULES)


@pytest.mark.parametrize(
    ("row", "seen"),
    [
        ("[-1, 1, Ours, []]", ((32, 16, 1.0), {})),
        ("[-1, 1, Ours, [128]]", ((32, 16, 1.0), {})),
        ("[-1, 1, Ours, [128, 4]]", ((32, 4, 1.0), {})),
        ("[-1, 1, Ours, {ratio: 4, temperature: 0.5}]", ((32, 4, 0.5), {})),
        ("[-1, 1, Ours, [128, {temperature: 0.5}]]", ((32, 16, 0.5), {})),
        ("[-1, 1, Open, {anything: 3}]", ((32,), {"anything": 3})),
        ("[-1, 1, Theirs, [128]]", ((32, 32), {})),
        ("[-1, 1, Theirs, [128, 5, None, word, [1, 2]]]", ((32, 32, 5, None, "word", (1, 2)), {})),
        ("[-1, 4, Stacked, [128, False]]", ((32, 32, 2, False), {})),
        ("[-1, 1, Stacked, [128]]", ((32, 32, 1, True), {})),
        ("[-1, 1, Needy, [128, 3]]", ((32, 32, 3), {})),
        ("[-1, 1, Needy, {c2: 128, kernel: 3}]", ((32, 32, 3), {})),
        ("[-1, 1, Wider, [36]]", ((32, 36), {})),  # 3 * (7 + 5): the head's output count is not scaled
        ("[-1, 1, Theirs, [100]]", ((32, 32), {})),  # 25 rounded up to a multiple of 8
    ],
)
def test_what_a_users_constructor_is_called_with(row: str, seen: object) -> None:
    assert detector(row).layer(2).seen == seen


def test_options_of_the_stated_types_are_taken_and_unstated_ones_are_not_checked() -> None:
    detector("[-1, 1, Typed, [128, 4, {sizes: [3, 5], kind: mean, share: 1}]]")
    detector("[-1, 1, Typed, {wrongly: None, layer: None}]")
    assert detector("[-1, 1, Unstated, [128, word]]").layer(2).seen == ((32, "word"), {})


def test_a_repeated_module_reads_its_own_output() -> None:
    layer = detector("[-1, 4, Theirs, [100]]").layer(2)
    assert isinstance(layer, nn.Sequential)
    assert [inner.seen[0] for inner in layer] == [(32, 32), (32, 32)]
    convs = detector("[-1, 6, Conv, [256, 3]]").layer(2)
    assert [conv.conv.in_channels for conv in convs] == [32, 64, 64]


def test_a_module_of_many_inputs_may_take_different_sizes() -> None:
    text = MODEL.replace("ROW", "[[-1, 0], 1, Total, [2.5]]").replace("[64, 3, 2]", "[128, 3, 2]")
    assert build(parse_spec(text, FILE), modules=MODULES).layer(2).seen == ([32, 32], 2.5)


@pytest.mark.parametrize(
    ("row", "channels"),
    [
        ("[-1, 1, nn.Conv2d, [64, 3, 1, 1]]", 16),
        ("[-1, 1, nn.ConvTranspose2d, [64, 2, 2]]", 16),
        ("[-1, 1, nn.BatchNorm2d, []]", 32),
        ("[-1, 1, nn.MaxPool2d, [2, 2, 0]]", 32),
        ("[-1, 1, nn.Identity, []]", 32),
        ("[-1, 1, nn.ZeroPad2d, [[1, 1, 1, 1]]]", 32),
        ("[-1, 1, nn.LeakyReLU, {negative_slope: 0.1}]", 32),
    ],
)
def test_classes_of_torch(row: str, channels: int) -> None:
    assert next(f for i, f in enumerate(detector(row).spec.info.values()) if i == 2).out_channels == channels


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("[-1, 1, Ours, [64]]", "states 16 output channels .* but gives 32"),
        ("[-1, 1, Theirs, [64]]", "states 16 output channels .* but gives 32"),
        ("[-1, 1, Ours, [128, 4, 0.5]]", "Ours takes 2 arguments, here are 3\n  expected: output channels, ratio"),
        ("[-1, 1, Ours, [128, 4.5]]", "ratio is 4.5\n  expected: a whole number"),
        ("[-1, 1, Ours, {temperature: hot}]", "temperature is 'hot'\n  expected: a number"),
        ("[-1, 3, C3, [128, Flase]]", "shortcut is 'Flase'\n  expected: true or false"),
        ("[-1, 1, SPP, [128, 5]]", "kernel_sizes is 5\n  expected: a list"),
        ("[-1, 1, Quits, []]", "Quits failed: SystemExit: 32"),
        (
            "[-1, 1, SpatialOnly, []]",
            r"first argument, 'kernel_size', was the number of input channels.*test_bind\.py:\d+",
        ),
        ("[-1, 1, Ours, {ration: 4}]", "did you mean 'ratio'"),
        ("[-1, 1, Needy, [128]]", "needs kernel"),
        ("[-1, 1, Needy, [wide, 3]]", "output channels are 'wide'"),
        ("[-1, 1, NoChannels, []]", "no argument for the input channels"),
        ("[[-1, 0], 1, Ours, []]", "returns a list"),
        ("[-1, 1, Conv, [128, 3, 1, 1, 5]]", r"Conv\(32, .*groups=5.*\) failed: ValueError"),
        ("[-1, 1, nn.Flatten, []]", r"returns a tensor of shape \(1, "),
        ("[-1, 1, Pair, []]", "returns a tuple"),
        ("{from: -1, module: Conv, args: [64, 3, 2], gate: true}", "cannot be gated"),
        ("{from: -1, module: nn.AdaptiveAvgPool2d, args: [1], gate: true}", "cannot be gated"),
        ("{from: [-1], module: Concat, args: [1], gate: true}", "cannot be gated"),
        ("[-1, 1, Detect, [nc, anchors]]", "reads the detection head|too"),
    ],
)
def test_what_does_not_fit_is_rejected_at_its_line(row: str, message: str) -> None:
    with pytest.raises(RegardError, match=message) as caught:
        detector(row)
    assert caught.value.file == FILE
    assert caught.value.line in (7, 9)


def test_a_head_for_other_classes_than_the_file_says_is_rejected() -> None:
    with pytest.raises(RegardError, match="states 3 classes and the file 7") as caught:
        build(parse_spec(MODEL.replace("[nc, anchors]", "[3, anchors]").replace("ROW", "[-1, 1, C3, [64]]"), FILE))
    assert caught.value.line == 9


def test_class_names_have_to_be_as_many_as_classes() -> None:
    with pytest.raises(RegardError, match="2 class names for 80 classes"):
        build(read_spec("yolov5n"), names={0: "a", 1: "b"})
    with pytest.raises(RegardError, match="one for each of 0 to 79"):
        build(read_spec("yolov5n"), names={i + 1: f"class{i}" for i in range(80)})


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ({}, "[128]"),
        ({"ratio": 4}, "[128, 4]"),
        ({"temperature": 0.5}, None),
    ],
)
def test_options_are_written_by_position_where_they_can(options: dict[str, Any], written: str | None) -> None:
    spec = parse_spec(MODEL.replace("ROW", "[-1, 1, Conv, [128, 3, 1]]"), FILE)
    built = build(insert(spec, "Ours", after=2, options=options, gate=False), modules=MODULES).spec
    if written is None:
        with pytest.raises(RegardError, match="cannot be positional"):
            built.to_yolov5_yaml()
    else:
        assert f"Ours, {written}]" in built.to_yolov5_yaml()


@pytest.mark.parametrize(
    "row",
    [
        "[-1, 1, Conv, {out_channels: 128, stride: 1, kernel_size: 3}]",
        "[-1, 3, C3, [128, {expansion: 0.25}]]",
        "[-1, 1, nn.Upsample, {scale_factor: 2}]",
        "[-1, 1, Theirs, [128, 5, 6]]",
        "[[-1], 1, Concat, {dim: 1}]",
    ],
)
def test_the_integer_form_builds_the_same(row: str) -> None:
    first = detector(row)
    text = first.spec.to_yolov5_yaml()
    assert "{" not in text
    again = build(parse_spec(text, FILE), modules=MODULES)
    assert {k: t.shape for k, t in again.state_dict().items()} == {k: t.shape for k, t in first.state_dict().items()}
    assert str(again.layer(2)) == str(first.layer(2))


def test_options_of_the_head_are_written_by_position() -> None:
    text = MODEL.replace("ROW", "[-1, 1, C3, [128]]").replace("[nc, anchors]", "[nc, {anchors: 3}]")
    assert "Detect, [nc, 3]]" in build(parse_spec(text, FILE)).spec.to_yolov5_yaml()


def test_channels_scale_and_unscale() -> None:
    assert [scale_channels(c, 0.25) for c in (64, 65, 1, 1024)] == [16, 24, 8, 256]
    for width in (0.25, 0.33, 0.5, 0.75, 1.0, 1.25):
        for channels in range(8, 1500, 8):
            guess = unscale_channels(channels, width)
            assert guess is None or scale_channels(guess, width) == channels
            assert guess is not None or width > 1


def test_signature_of_a_yolov5_block() -> None:
    signature = signature_of(Stacked)
    assert (signature.out, signature.repeats, signature.names) == ("c2", "n", ["c2", "shortcut"])
    assert not signature.variadic
    assert signature_of(Theirs).variadic
    assert signature_of(Open).open


def test_user_files_are_imported_and_named_again(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    source = "from torch import nn\nfrom torch.nn import Conv2d\n"
    file.write_text(source + "class A(nn.Module): pass\nclass B(nn.Module): pass\nC = 3\n")
    assert set(import_modules([str(file)])) == {"A", "B"}
    (only,) = import_modules([f"{file}:B"]).values()
    assert reference_to(only) == "mine.py:B"
    with pytest.raises(RegardError, match=r"no layer 'Bb'\n.*A, B\n.*did you mean 'B'"):
        import_modules([f"{file}:Bb"])
    with pytest.raises(RegardError, match="no such file"):
        import_modules([f"{tmp_path}/other.py:A"])
    file.write_text("def broken(:\n")
    with pytest.raises(RegardError, match="cannot be imported: SyntaxError") as caught:
        import_modules([str(file)])
    assert caught.value.line == 1
    file.write_text("C = 3\nraise RuntimeError('no')\n")
    with pytest.raises(RegardError, match="cannot be imported: RuntimeError: no") as caught:
        import_modules([str(file)])
    assert caught.value.line == 2
    file.write_text("raise SystemExit(4)\n")
    with pytest.raises(RegardError, match="cannot be imported: SystemExit: 4"):
        import_modules([str(file)])


def test_user_files_may_import_their_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_mine.py").write_text("from torch import nn\nclass A(nn.Module): pass\n")
    file = tmp_path / "mine.py"
    file.write_text("from neighbour_of_mine import A\n")
    before = list(sys.path)
    assert set(import_modules([f"{file}:A"])) == {"A"}
    assert sys.path == before
    with pytest.raises(RegardError, match="defines no layer"):
        import_modules([str(file)])


def test_a_users_class_goes_before_the_packages_and_is_remembered() -> None:
    built = build(insert(read_spec("yolov5n"), "SE", after="p3", gate=False), modules={"SE": Ours, "Unused": Open})
    assert isinstance(built.layer("p3.se"), Ours)
    assert built.user_modules == {"SE": Ours}


def test_layers_are_found_by_name_and_index() -> None:
    built = build(insert(read_spec("yolov5n"), "SE", after="sppf"))
    assert built.layer(10) is built.layer("sppf.se")
    assert isinstance(built.layer("sppf.se"), Gated)
    with pytest.raises(RegardError, match="did you mean 'sppf'"):
        built.layer("sppff")
