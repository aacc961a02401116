"""The addresses that show graphs in other ways: two models next to each other, and receptive fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fastapi import APIRouter

from regard.api.comparison import diff
from regard.config import IMGSZ
from regard.graph.detector import Detector
from regard.graph.diagram import diagram
from regard.graph.read import zoo
from regard.graph.receptive import receptive_fields
from regard.studio import answers as a
from regard.studio import questions as q
from regard.studio.bench import Bench
from regard.studio.language import Words
from regard.studio.workspace import Workspace
from regard.weights.detector import load_detector


def comparing(bench: Bench, workspace: Workspace) -> APIRouter:
    """Differences of two models, and receptive fields of the open one."""
    router = APIRouter()

    def find(source: str) -> Detector | str | Path:
        if not source:
            return bench.state.built
        return source if source in zoo() else workspace.find_model(source)

    def load(model: Detector | str | Path) -> Detector:
        if isinstance(model, Detector):
            return model
        return load_detector(model, modules=bench.modules, allow_miswired=True)

    @router.post("/diff")
    def compare(asked: q.DiffQuestion, words: Words) -> a.Comparison:
        with bench.working():
            sources = find(asked.a), find(asked.b)
            first, second = map(load, sources)
            stride = max(first.max_stride, second.max_stride)
            imgsz = max(IMGSZ // stride, 1) * stride
            found = diff(*sources, imgsz=imgsz, modules=bench.modules)
            return a.Comparison(
                names=(asked.a or bench.source, asked.b or bench.source),
                a=diagram(first, imgsz),
                b=diagram(second, imgsz),
                layers=[replace(layer, details=tuple(map(words, layer.details))) for layer in found.layers],
                tensors=replace(
                    found.tensors,
                    missing=_translated(found.tensors.missing, words),
                    in_part=_translated(found.tensors.in_part, words),
                ),
                costs=found.costs,
                classes=words(found.classes),
            )

    @router.get("/receptive")
    def receptive() -> dict[str, float | None]:
        with bench.working():
            return receptive_fields(bench.state.built, bench.state.diagram.imgsz)

    return router


def _translated(texts: Mapping[str, Mapping[str, int]], words: Words) -> dict[str, dict[str, int]]:
    return {layer: {words(text): n for text, n in counts.items()} for layer, counts in texts.items()}
