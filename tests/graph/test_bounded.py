"""A graph of a few lines asks for any amount of memory or time: it is an error before anything is allocated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from regard.errors import RegardError
from regard.graph.bounded import MOST_BYTES, Bounded
from regard.graph.build import build
from regard.graph.document import MOST_ROWS, MOST_SOURCES
from regard.graph.read import MOST_BASES, parse_spec, read_spec

START = "nc: 2\nanchors: [[5, 6]]\nbackbone:\n  - [-1, 1, Conv, [8, 3, 2]]\n"
END = "head:\n  - [-1, 1, Detect, [nc, anchors]]\n"
BOMBS = {
    "nearest": "nn.Upsample, [None, 1000, nearest]",
    "bilinear": "nn.Upsample, [None, 300, bilinear]",
    "padding": "nn.ZeroPad2d, [100000]",
    "replication": "nn.ReplicationPad2d, [100000]",
    "kernel": "Conv, [4096, 5000, 1]",
    "channels": "Conv, [1000000000, 1, 1]",
    "padded convolution": "nn.Conv2d, [64, 1, 1, 50000]",
    "transposed convolution": "nn.ConvTranspose2d, [64, 3, 500]",
    "window": "nn.MaxPool2d, [1000000001, 1, 500000000]",
    "window of averages": "nn.AvgPool2d, [[1000001, 10000001], 1, [500000, 5000000]]",
    "pooling": "nn.AdaptiveAvgPool2d, [100000]",
    "unfolding": "nn.Unfold, [100, 1, 50]",
    "multiplications": "Conv, [4096, 99, 1]",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_row_that_asks_for_too_much_is_an_error_with_its_line(bomb: str) -> None:
    with pytest.raises(RegardError, match=r"it computes a tensor of|it takes more than") as error:
        build(parse_spec(f"{START}  - [-1, 1, {BOMBS[bomb]}]\n{END}", Path("model.yaml")))
    assert (error.value.file, error.value.line) == (Path("model.yaml"), 5)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{START}  - [-1, 900, Bottleneck, [8]]\n  - [-1, 101, Bottleneck, [8]]\n{END}", 6),
        (f"depth_multiple: 100\n{START}  - [-1, 900, Bottleneck, [8]]\n{END}", 6),
        (START + "  - [-1, 1, Conv, [8]]\n" * MOST_ROWS + END, MOST_ROWS + 4),
        (f"{START}  - [[{'-1,' * (MOST_SOURCES + 1)}], 1, Concat, [1]]\n{END}", 5),
        (START + "  - [-1, 1, nn.Upsample, [None, 8, nearest]]\n" + "  - [-1, 1, nn.Identity, []]\n" * 99 + END, 68),
        (f"{START}" + "  - [-1, 1, Conv, [256, 3, 1]]\n" * 99 + END, 9),
    ],
    ids=["blocks", "multiple", "rows", "sources", "maps", "parameters"],
)
def test_a_graph_of_too_many_parts_is_an_error_with_its_line(
    text: str, line: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.graph.bounded.MOST_MADE", 2**23)  # 256 x 256 x 9 numbers: 2.4 MB per row
    with pytest.raises(RegardError) as error:
        build(parse_spec(text, Path("model.yaml")))
    assert (error.value.file, error.value.line) == (Path("model.yaml"), line)


def test_overlays_are_followed_for_a_number_of_steps(tmp_path: Path) -> None:
    (tmp_path / "0.yaml").write_text(START + END)
    for i in range(1, MOST_BASES + 2):
        (tmp_path / f"{i}.yaml").write_text(f"base: {i - 1}.yaml\n")
    assert read_spec(tmp_path / f"{MOST_BASES - 1}.yaml").layers == read_spec(tmp_path / "0.yaml").layers
    with pytest.raises(RegardError, match="too many overlays"):
        read_spec(tmp_path / f"{MOST_BASES + 1}.yaml")
    (tmp_path / "many.yaml").write_text("base: 0.yaml\nremove:\n" + "  - 0\n" * (MOST_ROWS + 1))
    with pytest.raises(RegardError, match="edits in remove"):
        read_spec(tmp_path / "many.yaml")


def test_what_is_within_bounds_is_computed_as_without_them() -> None:
    def run() -> list[torch.Tensor]:
        torch.manual_seed(0)
        layer = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Upsample(scale_factor=2), nn.Dropout(0.5))
        return [layer(torch.rand(2, 3, 7, 11)), torch.rand(3)]

    plain = run()
    with Bounded():
        bounded = run()
    assert all(torch.equal(a, b) for a, b in zip(plain, bounded, strict=True))


@pytest.mark.parametrize("side", [MOST_BYTES // 4 // 1024, MOST_BYTES // 4 // 1024 + 1])
def test_views_are_free_and_copies_count(side: int) -> None:
    with Bounded():
        wide = torch.ones(1, 1024).expand(side, 1024)
        assert wide.sum(0, keepdim=True).shape == (1, 1024)
        if side * 1024 * 4 > MOST_BYTES:
            for copy in (wide.clone, lambda: wide * 2, lambda: torch.cat([wide, wide]), lambda: wide.repeat(2, 1)):
                with pytest.raises(RegardError, match="it computes"):
                    copy()


def test_loops_of_small_operations_end() -> None:
    class Endless(nn.Module):
        def __init__(self, in_channels: int) -> None:  # noqa: ARG002
            super().__init__()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            while True:
                x[0, 0, 0, 0] += 1

    with pytest.raises(RegardError, match="too many operations"):
        build(parse_spec(f"{START}  - [-1, 1, Endless, []]\n{END}", None), modules={"Endless": Endless})
