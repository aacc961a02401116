"""Graphs as people edit them: random bases, rows put in, references shifted or forgotten; and how the check does there.

``python tests/graph/edited_graphs.py --count 3000`` prints precision, recall and how many corrected rows are right.
Backbones, necks and edits are drawn here; nothing is taken from anybody's file.
"""

from __future__ import annotations

import argparse
import random
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import yaml
from hand_edits import HandGraph, HandRow, hand_graph, zoo_graph
from sound_graphs import SOUND
from torch import Tensor, nn

from regard.errors import RegardError, RegardWarning
from regard.graph.build import build
from regard.graph.read import parse_spec

INSERTED = ("SE, []", "CBAM, []", "ECA, []", "SimAM, []", "MyGate, []", "SE, []", "C3, []")
SIZES = ((0.33, 0.25), (0.33, 0.5), (0.67, 0.75), (1.0, 1.0), (1.33, 1.25))


class Stage(nn.Module):
    """A block of a user's backbone: (channels, kernel, stride)."""

    def __init__(self, c1: int, c2: int, k: int = 3, s: int = 1) -> None:
        super().__init__()
        self.body = nn.Conv2d(c1, c2, k, s, k // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class MyGate(nn.Module):
    """A user's attention, of which the package knows nothing."""

    def __init__(self, c1: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(c1, c1, 1, groups=c1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weigh(x).sigmoid()


MODULES: Mapping[str, type[nn.Module]] = {"Stage": Stage, "MyGate": MyGate}


@dataclass(frozen=True)
class Edited:
    """One drawn file.

    Attributes:
        kind: base and edit, for the table.
        graph: the file.
        accepted: for each reference, the rows that may have been meant, the most likely last.
        idle: whether an inserted row is read by nobody.
    """

    kind: tuple[str, str]
    graph: HandGraph
    accepted: Mapping[tuple[int, int], tuple[int, ...]]
    idle: bool

    @property
    def right(self) -> bool:
        return not self.idle and self.agrees(self.graph)

    def agrees(self, graph: HandGraph) -> bool:
        """Whether every reference of a file reads a row that may have been meant."""
        return all(graph.rows[i].sources[k] in rows for (i, k), rows in self.accepted.items())


def bases(draw: random.Random) -> Iterator[tuple[str, HandGraph]]:
    """Draw bases of all kinds forever."""
    stock = {"stock": "yolov5n", "P2": "yolov5n-p2", "P6": "yolov5n6"}
    unlike = [name for name in SOUND if name != "one level"]
    while True:
        kind = draw.choice(["stock", "stock", "P2", "P6", "variant", "own backbone", "own graph"])
        if kind in stock:
            graph = zoo_graph(stock[kind])
        elif kind == "variant":
            name = draw.choice(unlike)
            kind, graph = f"variant: {name}", hand_graph(SOUND[name][0])
        elif kind == "own backbone":
            graph = own_graph(draw, stock_head=True)
        else:
            graph = own_graph(draw, stock_head=False)
        depth, _ = draw.choice(SIZES)
        yield kind, replace(graph, depth=depth, width=0.25)  # the width changes no wiring, only the time to build


def own_graph(draw: random.Random, *, stock_head: bool) -> HandGraph:
    """Draw a backbone, and a neck as in the stock graph or in another manner."""
    rows: list[HandRow] = []
    ends: dict[int, int] = {}
    down = draw.choice(["Conv", "GhostConv", "Stage"])
    block = draw.choice(["C3", "C3Ghost", "Stage", "BottleneckCSP"])

    def put(sources: tuple[int, ...], number: int, module: str, args: list[object], head: bool = False) -> int:
        rows.append(HandRow(sources, number, module, args, head))
        return len(rows) - 1

    channels = 32
    put((-1,), 1, *draw.choice([("Conv", [channels, 6, 2, 2]), ("Focus", [channels, 3])]))
    for stride in (4, 8, 16, 32):
        channels *= 2
        ends[stride] = put((-1,), 1, down, [channels, 3, 2])
        for _ in range(draw.choice([0, 1, 1, 2]) if block != "Stage" else draw.choice([1, 2])):
            ends[stride] = put((-1,), draw.choice([1, 3]) if block != "Stage" else 1, block, [channels])
        if draw.random() < 0.2:
            ends[stride] = put((-1,), 1, draw.choice(["SE", "CBAM", "MyGate"]), [channels])
    if stock_head or draw.random() < 0.6:
        ends[32] = put((-1,), 1, draw.choice(["SPPF", "SPP"]), [channels])
    return replace(_neck(draw, rows, ends, put, stock_head), nc=3)


def _neck(
    draw: random.Random, rows: list[HandRow], ends: dict[int, int], put: Callable[..., int], stock_head: bool
) -> HandGraph:
    lite = "Conv" if stock_head else draw.choice(["Conv", "GhostConv"])
    block = "C3" if stock_head else draw.choice(["C3", "C3Ghost", "C3"])
    manner = "stock" if stock_head else draw.choice(["stock", "fused", "laterals", "top-down"])
    strides = (16, 8) if stock_head or draw.random() < 0.8 else (16, 8, 4)
    reverse = draw.random() < 0.2
    same = draw.choice([64, 128])
    laterals: dict[int, int] = {}
    out: dict[int, int] = {32: ends[32]}
    before = 32
    for stride in strides:
        laterals[before] = put((-1,), 1, lite, [same, 1, 1], True)
        out.setdefault(before, laterals[before])
        put((-1,), 1, "nn.Upsample", ["None", 2, "nearest"], True)
        if manner == "laterals":
            put((ends[stride],), 1, lite, [same, 1, 1], True)
            put((-1, -2), 1, "Concat", [1], True)
        else:
            put((ends[stride], -1) if reverse else (-1, ends[stride]), 1, "Concat", [1], True)
        out[stride] = put((-1,), 3, block, [same, False], True)
        before = stride
    if manner == "top-down":
        levels = [out[s] for s in (*strides[::-1], 32)]
        levels[-1] = laterals[32]
        put(tuple(levels), 1, "Detect", ["nc", "anchors"], True)
        return HandGraph(tuple(rows), 3)
    levels = [out[strides[-1]]]
    for stride in (*strides[-2::-1], 32):
        put((-1,), 1, lite, [same, 3, 2], True)
        back = out[stride] if manner in ("fused", "laterals") else laterals[stride]
        put((back, -1) if reverse else (-1, back), 1, "Concat", [1], True)
        levels.append(put((-1,), 3, block, [same, False], True))
    put(tuple(levels), 1, "Detect", ["nc", "anchors"], True)
    return HandGraph(tuple(rows), 3)


EDITS = ("right", "nobody follows", "some follow", "all stale", "some stale", "one stale", "too little", "too much")


def edited(draw: random.Random, kind: str, graph: HandGraph) -> Edited:
    """Insert one or two rows (or three) at random places, and shift the references by one of the manners."""
    count = draw.choice([1, 1, 2, 2, 3])
    after = sorted(draw.randrange(len(graph.rows) - 1) for _ in range(count))
    manner = draw.choice(EDITS)
    if draw.random() < 0.35:
        manner = draw.choice(EDITS[:3])
    references = graph.references
    chosen = {place for place, _ in references if draw.random() < 0.5}
    chosen = {draw.choice(references)[0]} if manner == "one stale" and references else chosen
    accepted, rows = {}, []
    new_index = [i + sum(p < i for p in after) for i in range(len(graph.rows))]
    for i, row in enumerate(graph.rows):
        sources = list(row.sources)
        for k, x in enumerate(row.sources):
            if x < -1:  # counts back over what was inserted
                target = i + x
                sources[k] = new_index[target] + sum(p == target for p in after) - new_index[i]
            if x < 0:
                continue
            least, most = sum(p < x for p in after), sum(p <= x for p in after)
            accepted[new_index[i], k] = tuple(range(x + least, x + most + 1))
            sources[k] = x + _shift(draw, manner, (i, k) in chosen, least, most)
        rows.append(replace(row, sources=tuple(sources)))
        for p in after:
            if p == i:
                module, _, _ = draw.choice(INSERTED).partition(",")
                rows.append(HandRow((-1,), 1, module, [], row.head))
    made = replace(graph, rows=tuple(rows))
    inserted = [new_index[p] + n for p in set(after) for n in range(1, after.count(p) + 1)]
    read = {i + s if s < 0 else s for i, row in enumerate(rows) for s in row.sources}
    idle = any(i not in read for i in inserted)
    return Edited((kind, manner), made, accepted, idle)


def _shift(draw: random.Random, manner: str, chosen: bool, least: int, most: int) -> int:
    if manner == "nobody follows":
        return least
    if manner == "some follow":
        return draw.randint(least, most)
    if manner == "all stale" or (manner in ("some stale", "one stale") and chosen):
        return 0
    if manner == "too little" and chosen:
        return draw.randint(0, most)
    return most + (manner == "too much" and chosen)


@dataclass(frozen=True)
class Outcome:
    refused: bool
    proposed: bool = False
    builds: bool = False
    agrees: bool = False
    noted: bool = False
    message: str = ""


def outcome(case: Edited) -> Outcome:
    """Build a drawn file, and if it is refused apply what is proposed and build again."""
    text = case.graph.text
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RegardWarning)
            build(parse_spec(text, None), modules=MODULES)
        return Outcome(False, noted=any("intended?" in str(w.message) for w in caught))
    except RegardError as error:
        message = str(error)
    proposed = applied(case.graph, message)
    if proposed is None:
        return Outcome(True, message=message)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RegardWarning)
            build(parse_spec(proposed.text, None), modules=MODULES)
        builds = True
    except RegardError:
        builds = False
    return Outcome(True, True, builds, case.agrees(proposed), message=message)


def applied(graph: HandGraph, message: str) -> HandGraph | None:
    """The file with every corrected row of a message, each found by the layer that it is for; None without any."""
    spec = parse_spec(graph.text, None)
    rows = list(graph.rows)
    found = re.findall(r"layer '([^']+)' .*\n  corrected row: (.*)", message)
    for name, text in found:
        source, *_ = yaml.safe_load(text)
        i = spec.index(name)
        rows[i] = replace(rows[i], sources=tuple(source) if isinstance(source, list) else (source,))
        if len(rows[i].sources) == len(graph.rows[i].sources):  # -1 in the place of the preceding row means the same
            rows[i] = replace(
                rows[i],
                sources=tuple(
                    i - 1 if new == -1 and old >= 0 else new
                    for new, old in zip(rows[i].sources, graph.rows[i].sources, strict=True)
                ),
            )
    return replace(graph, rows=tuple(rows)) if found else None


def draw_cases(seed: int, count: int) -> Iterator[Edited]:
    """Draw files whose references point backwards, as all that is refused otherwise is another error."""
    draw = random.Random(seed)
    source = bases(draw)
    while count:
        case = edited(draw, *next(source))
        try:
            parse_spec(case.graph.text, None)
        except RegardError:
            continue
        count -= 1
        yield case


def measure(cases: Iterator[Edited]) -> tuple[Counter[str], list[tuple[str, Edited, Outcome]]]:
    """Count outcomes, and collect what went wrong."""
    counts: Counter[str] = Counter()
    wrong: list[tuple[str, Edited, Outcome]] = []
    for case in cases:
        result = outcome(case)
        right, refused = case.right, result.refused
        counts["right" if right else "wrong"] += 1
        counts["refused"] += refused
        counts["refused rightly"] += refused and not right
        counts["missed"] += not refused and not right
        counts["missed, but noted"] += not refused and not right and result.noted
        counts["proposed"] += result.proposed and not right
        counts["proposal builds"] += result.builds and not right
        counts["proposal is what was meant"] += result.builds and result.agrees and not right
        fault = (
            "false alarm"
            if refused and right
            else "missed"
            if not refused and not right
            else "does not build"
            if result.proposed and not result.builds
            else "not meant"
            if result.proposed and not result.agrees
            else ""
        )
        if fault:
            wrong.append((fault, case, result))
    return counts, wrong


def report(counts: Counter[str]) -> str:
    """Precision, recall and the quality of proposals, one a line."""
    lines = [f"{counts['right']} right and {counts['wrong']} mis-wired files"]
    lines += [
        f"refused: {counts['refused']}, of them rightly {counts['refused rightly']} "
        f"({counts['refused rightly'] / max(counts['refused'], 1):.1%})",
        f"mis-wired and not refused: {counts['missed']}, of them noted {counts['missed, but noted']} "
        f"(recall {counts['refused rightly'] / max(counts['wrong'], 1):.1%})",
        f"with corrected rows: {counts['proposed']}, which build {counts['proposal builds']}, "
        f"and are what was meant {counts['proposal is what was meant']} "
        f"({counts['proposal is what was meant'] / max(counts['proposed'], 1):.1%})",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, help="number of wrong outcomes to print")
    options = parser.parse_args()
    counted, faults = measure(draw_cases(options.seed, options.count))
    print(report(counted))
    print(Counter((fault, case.kind[0], case.kind[1]) for fault, case, _ in faults).most_common(40))
    for fault, case, result in faults[: options.show]:
        print("-----", fault, case.kind, f"accepted {dict(case.accepted)}, idle {case.idle}")
        print(case.graph.text)
        print(result.message)
