"""Pictures of what the attention of each variant looks at, for the report."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from regard.ablate.gaps import Gaps
from regard.ablate.record import StudyRecord
from regard.ablate.variants import Lineup
from regard.data.dataset import Sample
from regard.graph.detector import Detector
from regard.graph.spec import LayerSpec
from regard.visualize.attend import attend, attention_layers
from regard.weights.detector import load_detector


def attention_pictures(study: StudyRecord, lineup: Lineup, gaps: Gaps) -> list[tuple[str, bytes]]:
    """Return a title and a PNG file for every attention layer that a variant has and the base has not.

    Each is of the first finished seed, on the val image with most boxes; the query is the middle of its largest. What
    cannot be drawn is noted in ``gaps``.
    """
    pictures = []
    with gaps.noted("attention maps"), tempfile.TemporaryDirectory() as temporary:
        record = max(lineup.data.splits["val"], key=lambda record: len(record.class_ids))
        image = record.image.read()
        query = _middle_of_largest(record, image.shape[:2])
        common = attention_of(study, study.base.name, lineup)
        for variant in (v for v in study.variants if v.role == "variant"):
            for name, row in attention_of(study, variant.name, lineup).items():
                if common.get(name) == row:
                    continue
                with gaps.noted(f"attention map of {name} in {variant.name}"):
                    seed, run = next(iter(study.finished(variant.name).items()))
                    detector = load_detector(run.folder / f"{lineup.plan.epoch}.safetensors", modules=lineup.modules)
                    view = attend(detector, image, layer=name, query=query, imgsz=lineup.plan.imgsz)
                    file = view.save(Path(temporary) / "map.png")
                    pictures.append((f"{variant.name}, seed {seed}: {view.title}", file.read_bytes()))
    return pictures


def attention_of(study: StudyRecord, variant: str, lineup: Lineup) -> dict[str, LayerSpec]:
    """Return a variant's attention layers as ``attention_rows`` does; none where no run of it has finished."""
    run = next(iter(study.finished(variant).values()), None)
    if run is None:
        return {}
    return attention_rows(load_detector(run.folder / f"{lineup.plan.epoch}.safetensors", modules=lineup.modules))


def attention_rows(detector: Detector) -> dict[str, LayerSpec]:
    """Return by the name of each attention layer the row that it is, or is part of, whatever that row reads.

    A name alone says too little: what replaces a layer keeps its name.
    """
    rows = {}
    for layer in attention_layers(detector):
        own = [row for row in detector.spec.layers if f"{layer.name}.".startswith(f"{row.name}.")]
        rows[layer.name] = replace(max(own, key=lambda row: len(row.name)), inputs=())
    return rows


def _middle_of_largest(record: Sample, size: tuple[int, int]) -> tuple[float, float] | None:
    if not len(record.class_ids):
        return None
    x, y = record.boxes_cxcywh[record.boxes_cxcywh[:, 2:].prod(axis=1).argmax(), :2]
    return float(x * size[1]), float(y * size[0])
