"""A study as it might come out, with everything that a report has to cope with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from regard.ablate.folder import CostRecord, Role, RunRecord, StudyRecord, Variant
from regard.data.dataset import DetectionDataset, Sample
from regard.data.formats import load_data
from regard.evaluation.coco import coco_rows
from regard.types import Detections

SEEDS = (0, 1, 2, 3, 4)
EPOCHS = 15
SMALL = "synthetic:context?train=2&val=11&test=0"
HOSTILE = "<b>A&B</b>|x"
"""A name that must not become markup."""

SPECS: tuple[tuple[str, Role, str, float, float], ...] = (
    ("base", "base", "", 0.0, 0.0),
    ("SE@sppf", "variant", "", 0.022, 0.006),
    ("ECA@sppf", "variant", "", 0.001, 0.0025),
    ("MultiHeadSelfAttention@p5", "variant", "", 0.008, 0.011),
    ("CBAM@p4", "variant", "", -0.031, 0.007),
    (HOSTILE, "variant", "", 0.0, 0.004),
    ("control of SE@sppf", "capacity control", "SE@sppf", 0.004, 0.006),
    ("control of MultiHeadSelfAttention@p5", "capacity control", "MultiHeadSelfAttention@p5", 0.003, 0.008),
    ("noise", "noise control", "", 0.0, 0.007),
)
"""Name, role, what it controls, true effect on AP, standard deviation of paired differences."""


def small_data() -> DetectionDataset:
    """Return the odd-one-out data with few val images."""
    return load_data(SMALL)


def fake_study(folder: Path, *, seeds: Sequence[int] = SEEDS, with_test: bool = False) -> StudyRecord:
    """Return a study of five variants, two controls and a noise control; one variant failed for two seeds."""
    rng = np.random.default_rng(7)
    base = dict(zip(seeds, rng.normal(0.383, 0.009, len(seeds)), strict=True))
    runs = []
    for seed in seeds:
        for name, _, _, effect, sd in SPECS:
            run = _run(folder, name, seed, float(base[seed] + effect + rng.normal(0, sd)), rng)
            if name == HOSTILE and seed in (1, 3):
                why = "out of memory: <script>alert(1)</script> at 12 GiB"
                run = RunRecord(name, seed, "failed", run.folder, error=why)
            runs.append(run)
    variants = [Variant(name, role, of, model=f"models/{i}.yaml") for i, (name, role, of, *_) in enumerate(SPECS)]
    values = {name: {s: {"ap": 0.37 + effect, "ap50": 0.6} for s in seeds} for name, _, _, effect, _ in SPECS}
    return StudyRecord(
        folder=folder,
        question="Does attention in yolov5n pay on bccd, from COCO weights, at 320 px and 15 epochs?",
        metric="ap",
        alpha=0.05,
        mde=0.01,
        variants=variants,
        seeds=seeds,
        runs=runs,
        costs={name: _cost(i, rng) for i, (name, *_) in enumerate(SPECS)},
        test=values if with_test else {},
        plan={"base": "yolov5n", "insert": ["SE@sppf", "ECA@sppf"], "epochs": EPOCHS, "train": {"precision": "32"}},
        provenance={
            "packages": {"torch": "2.9.0", "regard": "0.1.0"},
            "git": {"commit": "8940bc2", "changed": False},
            "command": "regard ablate --base yolov5n --data bccd --insert SE@sppf",
            "data": {"checksum": "sha256:9f2c", "val": 11},
        },
    )


def with_detections(study: StudyRecord, data: DetectionDataset) -> StudyRecord:
    """Write ``val.json`` for every finished run: better detectors miss fewer objects and stray less."""
    records = data.splits["val"]
    for run in study.runs:
        if run.status == "finished":
            rng = np.random.default_rng((run.seed, len(run.variant)))
            found = [_found(record, rng, run.metrics["ap"]) for record in records]
            run.folder.mkdir(parents=True, exist_ok=True)
            rows = coco_rows(found, range(1, len(records) + 1), range(len(data.names)))
            (run.folder / "val.json").write_text(json.dumps(rows))
    return study


def unfinished(study: StudyRecord) -> StudyRecord:
    """Return the same study before any run has finished."""
    return replace(study, runs=[RunRecord(r.variant, r.seed, "waiting", r.folder) for r in study.runs], costs={})


def _run(folder: Path, name: str, seed: int, ap: float, rng: np.random.Generator) -> RunRecord:
    steps = 1 - np.exp(-np.arange(1, EPOCHS + 1) / 3.5)
    curve = [
        {"epoch": float(e), "val/ap": float(ap * s + rng.normal(0, 0.006) * (e < EPOCHS)), "train/box": 0.1}
        for e, s in enumerate(steps, start=1)
    ]
    metrics = {"ap": ap, "ap50": ap + 0.21, "ap75": ap + 0.02, "ap_small": float("nan"), "ap_medium": ap - 0.05}
    metrics |= {"ap_large": ap + 0.06, "precision": 0.7 + ap / 5, "recall": 0.6 + ap / 4, "f1": 0.65 + ap / 4}
    per_class = {c: float(ap + d + rng.normal(0, 0.01)) for c, d in (("RBC", 0.1), ("WBC", 0.2), (HOSTILE, -0.3))}
    gates = {"sppf-se": float(rng.normal(0.12, 0.03))} if name.startswith("SE") else {}
    short = f"{sum(map(ord, name))}-{seed}"
    return RunRecord(
        name, seed, "finished", folder / "runs" / short, metrics, per_class, curve, gates, 431.0 + seed, 1210.0
    )


def _cost(index: int, rng: np.random.Generator) -> CostRecord:
    latency = rng.normal(7.9 + (0, 0.12, 0.05, 1.3, 0.4, 0.2, 0.15, 0.9, 0)[index], 0.08, 20)
    parameters = 1_765_270 + (0, 8_320, 5, 265_000, 8_520, 900, 8_300, 264_500, 0)[index]
    bound = 1.09 if index == 3 else 1.0
    return CostRecord(
        parameters, 4_150_000_000 + 17_000_000 * index, tuple(latency.tolist()), 61.3 + index, bound, "cpu, as drawn"
    )


def _found(record: Sample, rng: np.random.Generator, quality: float) -> Detections:
    size = 128
    centre, half = record.boxes_cxcywh[:, :2], record.boxes_cxcywh[:, 2:] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    seen = rng.uniform(size=len(boxes)) < 0.4 + quality
    boxes = boxes[seen] * size + rng.uniform(-3, 3, (int(seen.sum()), 4))
    strays = rng.uniform(0, 90, (1, 2)) if rng.uniform() > quality else np.zeros((0, 2))
    boxes = np.concatenate([boxes, np.concatenate([strays, strays + 20], axis=1)])
    ids = np.concatenate([record.class_ids[seen], np.zeros(len(strays), dtype=np.int64)])
    scores = np.sort(rng.uniform(0.1, 0.95, len(boxes)))[::-1].astype(np.float32)
    return Detections(boxes.astype(np.float32), scores, ids, image_size=(size, size))
