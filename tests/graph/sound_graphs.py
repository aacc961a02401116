"""Graphs that are sound and unlike the stock ones: text and detection strides."""

from __future__ import annotations

THREE = "[[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]]"

BACKBONE = """
[-1, 1, Conv, [64, 6, 2, 2]]
[-1, 1, Conv, [128, 3, 2]]
[-1, 3, C3, [128]]
[-1, 1, Conv, [256, 3, 2]]
[-1, 6, C3, [256]]
[-1, 1, Conv, [512, 3, 2]]
[-1, 9, C3, [512]]
[-1, 1, Conv, [1024, 3, 2]]
[-1, 3, C3, [1024]]
[-1, 1, SPPF, [1024, 5]]"""

HEAD = """
[-1, 1, Conv, [512, 1, 1]]
[-1, 1, nn.Upsample, [None, 2, nearest]]
[[-1, 6], 1, Concat, [1]]
[-1, 3, C3, [512, False]]
[-1, 1, Conv, [256, 1, 1]]
[-1, 1, nn.Upsample, [None, 2, nearest]]
[[-1, 4], 1, Concat, [1]]
[-1, 3, C3, [256, False]]
[-1, 1, Conv, [256, 3, 2]]
[[-1, 14], 1, Concat, [1]]
[-1, 3, C3, [512, False]]
[-1, 1, Conv, [512, 3, 2]]
[[-1, 10], 1, Concat, [1]]
[-1, 3, C3, [1024, False]]
[[17, 20, 23], 1, Detect, [nc, anchors]]"""

VERSION_5 = """
[-1, 1, Focus, [64, 3]]
[-1, 1, Conv, [128, 3, 2]]
[-1, 3, BottleneckCSP, [128]]
[-1, 1, Conv, [256, 3, 2]]
[-1, 9, BottleneckCSP, [256]]
[-1, 1, Conv, [512, 3, 2]]
[-1, 9, BottleneckCSP, [512]]
[-1, 1, Conv, [1024, 3, 2]]
[-1, 1, SPP, [1024, [5, 9, 13]]]
[-1, 3, BottleneckCSP, [1024, False]]"""

TINY = """
[-1, 1, Conv, [16, 3, 1]]
[-1, 1, nn.MaxPool2d, [2, 2, 0]]
[-1, 1, Conv, [32, 3, 1]]
[-1, 1, nn.MaxPool2d, [2, 2, 0]]
[-1, 1, Conv, [64, 3, 1]]
[-1, 1, nn.MaxPool2d, [2, 2, 0]]
[-1, 1, Conv, [128, 3, 1]]
[-1, 1, nn.MaxPool2d, [2, 2, 0]]
[-1, 1, Conv, [256, 3, 1]]
[-1, 1, nn.MaxPool2d, [2, 2, 0]]
[-1, 1, Conv, [512, 3, 1]]
[-1, 1, nn.ZeroPad2d, [[0, 1, 0, 1]]]
[-1, 1, nn.MaxPool2d, [2, 1, 0]]"""

TINY_HEAD = """
[-1, 1, Conv, [1024, 3, 1]]
[-1, 1, Conv, [256, 1, 1]]
[-1, 1, Conv, [512, 3, 1]]
[-2, 1, Conv, [128, 1, 1]]
[-1, 1, nn.Upsample, [None, 2, nearest]]
[[-1, 8], 1, Concat, [1]]
[-1, 1, Conv, [256, 3, 1]]
[[19, 15], 1, Detect, [nc, anchors]]"""

SINGLE = """
[-1, 1, Conv, [32, 3, 2]]
[-1, 2, Bottleneck, [32]]
[-1, 1, Conv, [64, 3, 2]]
[-1, 1, C3, [64]]"""

TOP_DOWN = """
[-1, 3, C3, [1024, False]]
[6, 1, Conv, [512, 1, 1]]
[-2, 1, nn.Upsample, [None, 2, nearest]]
[[-1, -2], 1, Concat, [1]]
[-1, 3, C3, [512, False]]
[4, 1, Conv, [256, 1, 1]]
[-2, 1, nn.Upsample, [None, 2, nearest]]
[[-1, -2], 1, Concat, [1]]
[-1, 3, C3, [256, False]]
[[18, 14, 10], 1, Detect, [nc, anchors]]"""

SEVEN = (
    BACKBONE.replace("1024", "768").replace("\n[-1, 1, SPPF, [768, 5]]", "")
    + """
[-1, 1, Conv, [1024, 3, 2]]
[-1, 3, C3, [1024]]
[-1, 1, Conv, [1280, 3, 2]]
[-1, 3, C3, [1280]]
[-1, 1, SPPF, [1280, 5]]"""
)

SEVEN_HEAD = """
[-1, 1, Conv, [1024, 1, 1]]
[-1, 1, nn.Upsample, [None, 2, nearest]]
[[-1, 10], 1, Concat, [1]]
[-1, 3, C3, [1024, False]]
[-1, 1, Conv, [768, 1, 1]]
[-1, 1, nn.Upsample, [None, 2, nearest]]
[[-1, 8], 1, Concat, [1]]
[-1, 3, C3, [768, False]]
[-1, 1, Conv, [512, 1, 1]]
[-1, 1, nn.Upsample, [None, 2, nearest]]
[[-1, 6], 1, Concat, [1]]
[-1, 3, C3, [512, False]]
[-1, 1, Conv, [256, 1, 1]]
[-1, 1, nn.Upsample, [None, 2, nearest]]
[[-1, 4], 1, Concat, [1]]
[-1, 3, C3, [256, False]]
[-1, 1, Conv, [256, 3, 2]]
[[-1, 26], 1, Concat, [1]]
[-1, 3, C3, [512, False]]
[-1, 1, Conv, [512, 3, 2]]
[[-1, 22], 1, Concat, [1]]
[-1, 3, C3, [768, False]]
[-1, 1, Conv, [768, 3, 2]]
[[-1, 18], 1, Concat, [1]]
[-1, 3, C3, [1024, False]]
[-1, 1, Conv, [1024, 3, 2]]
[[-1, 14], 1, Concat, [1]]
[-1, 3, C3, [1280, False]]
[[29, 32, 35, 38, 41], 1, Detect, [nc, anchors]]"""


def _file(backbone: str, head: str, anchors: str = THREE, width: float = 0.125) -> str:
    rows = [section.strip().replace("\n", "\n  - ") for section in (backbone, head)]
    return (
        f"nc: 7\ndepth_multiple: 0.33\nwidth_multiple: {width}\nanchors: {anchors}\n"
        f"backbone:\n  - {rows[0]}\nhead:\n  - {rows[1]}\n"
    )


def _shifted(head: str, by: int, *, from_: int) -> str:
    """Return ``head`` with the stock references of ``from_`` and later moved on."""
    for index in (4, 6, 10, 14):
        if index >= from_:
            head = head.replace(f"[-1, {index}]", f"[-1, {index + by}]")
    return head.replace("[17, 20, 23]", f"[{17 + by}, {20 + by}, {23 + by}]")


_TWO_HEAD = "\n".join(HEAD.split("\n")[:12]) + "\n[[17, 20], 1, Detect, [nc, anchors]]"
_GHOST = BACKBONE.replace("C3", "C3Ghost").replace("Conv", "GhostConv").replace("GhostConv, [64", "Conv, [64")
_TRANSFORMER = "[-1, 3, C3TR, [1024]]\n[-1, 3, C3, [1024]]"
_FLIPPED = "[[116, 90, 156, 198, 373, 326], [30, 61, 62, 45, 59, 119], [10, 13, 16, 30, 33, 23]]"

SOUND: dict[str, tuple[str, tuple[int, ...]]] = {
    "like yolov3-tiny": (
        _file(TINY, TINY_HEAD, "[[10,14, 23,27, 37,58], [81,82, 135,169, 344,319]]", 0.25),
        (16, 32),
    ),
    "one level": (_file(SINGLE, "[3, 1, Detect, [nc, anchors]]", "[[5, 5, 9, 9]]", 0.5), (4,)),
    "bi-directional": (_file(BACKBONE, HEAD.replace("[-1, 14]", "[-1, 14, 6]")), (8, 16, 32)),
    "two levels": (_file(BACKBONE, _TWO_HEAD, "[[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119]]"), (8, 16)),
    "five levels": (_file(SEVEN, SEVEN_HEAD, "3"), (8, 16, 32, 64, 128)),
    "top down only": (_file(BACKBONE, TOP_DOWN), (8, 16, 32)),
    "reordered inputs": (
        _file(
            BACKBONE, HEAD.replace("[-1, 6]", "[6, -1]").replace("[-1, 4]", "[4, -1]").replace("[-1, 14]", "[14, -1]")
        ),
        (8, 16, 32),
    ),
    "descending": (_file(BACKBONE, HEAD.replace("[17, 20, 23]", "[23, 20, 17]"), _FLIPPED), (32, 16, 8)),
    "descending, to be fitted": (_file(BACKBONE, HEAD.replace("[17, 20, 23]", "[23, 20, 17]"), "3"), (32, 16, 8)),
    "version 5": (_file(VERSION_5, HEAD.replace("C3", "BottleneckCSP")), (8, 16, 32)),
    "ghost": (_file(_GHOST, HEAD.replace("C3", "C3Ghost").replace("Conv", "GhostConv")), (8, 16, 32)),
    "transformer and one more C3": (
        _file(BACKBONE.replace("[-1, 3, C3, [1024]]", _TRANSFORMER), _shifted(HEAD, 1, from_=8)),
        (8, 16, 32),
    ),
    "deeper backbone": (
        _file(BACKBONE + "\n[-1, 1, Conv, [1024, 3, 1]]\n[-1, 3, C3, [1024]]", _shifted(HEAD, 2, from_=10)),
        (8, 16, 32),
    ),
    "longer stem": (_file("[-1, 1, Conv, [32, 3, 1]]" + BACKBONE, _shifted(HEAD, 1, from_=0)), (8, 16, 32)),
    "without SPPF": (_file(BACKBONE.rsplit("\n", 1)[0], _shifted(HEAD, -1, from_=10)), (8, 16, 32)),
}
