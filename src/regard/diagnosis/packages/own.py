"""Run folders of this package: ``run.json``, ``results.csv`` and ``.safetensors``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regard.config import describe
from regard.diagnosis.record import TABLE, Schedule, TrainingRecord, flat_settings, read_table
from regard.training.folder import read_config, run_settings
from regard.weights.paths import weights_of

SETTINGS = "run.json"


def read(folder: Path) -> TrainingRecord:
    """Read what a run folder states.

    Raises:
        RegardError: a file is missing or damaged.
    """
    config, file = read_config(folder), folder / SETTINGS
    settings, source = run_settings(config, file)
    optim = settings.recipe.optim
    schedule = Schedule(
        optim.optimizer,
        optim.lr,
        optim.nominal_batch,
        optim.warmup_epochs,
        optim.warmup_min_steps,
        optim.whole_epochs,
    )
    names = config["data"].get("names")
    weights = weights_of(folder)
    table = read_table(folder / TABLE, weights=weights)
    return TrainingRecord(
        folder=folder,
        package="regard",
        settings_file=file,
        rows=table.rows,
        torn=table.torn,
        unmeasured=table.unmeasured,
        epochs=settings.epochs,
        batch=settings.batch,
        imgsz=settings.imgsz,
        patience=settings.patience,
        schedule=schedule,
        data=source,
        start=_start(config),
        weights=weights,
        anchor_threshold=settings.recipe.loss.anchor_threshold,
        data_options={
            "single_cls": settings.single_cls,
            "classes": settings.classes,
            "first_class": settings.first_class,
        },
        data_names=tuple(map(str, names)) if isinstance(names, list) else (),
        images=_images(config["data"], "train"),
        val_images=_images(config["data"], "val"),
        drawn=(settings.val_fraction, settings.split_seed),
        settings=flat_settings(describe(settings)) | {"data": source},
    )


def _start(config: Mapping[str, Any]) -> str | None:
    """The model that the command line names, or that `regard.train` recorded; None if neither is known."""
    environment = config.get("environment")
    words = environment.get("command") if isinstance(environment, dict) else None
    if not isinstance(words, list) or [str(word) for word in words[:2]] != ["regard", "train"]:
        begun = config.get("start")
        source = begun.get("source") if isinstance(begun, dict) else None
        return source if isinstance(source, str) else None
    words = [str(word) for word in words[2:]]
    for i, word in enumerate(words):
        if word.startswith("--weights"):
            return word.partition("=")[2] or "".join(words[i + 1 : i + 2])
    return words[0] if words and not words[0].startswith("-") else None


def _images(data: Mapping[str, Any], split: str) -> int:
    splits = data.get("splits")
    counts = splits.get(split) if isinstance(splits, dict) else None
    images = counts.get("images") if isinstance(counts, dict) else None
    return images if isinstance(images, int) else 0
