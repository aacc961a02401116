"""Training: set up, fit, one epoch, validate; read it from the top."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from regard.config import OptimSettings, Recipe, TrainSettings, describe
from regard.data.cache import CacheKind, choose_cache
from regard.data.dataset import DetectionDataset
from regard.data.loader import TrainLoader
from regard.data.validation import CachedBatches, ValidationLoader
from regard.errors import RegardError, first_names
from regard.evaluation import Metrics, evaluate
from regard.graph.cost import check_imgsz
from regard.graph.detector import Detector
from regard.nn.fuse import fuse
from regard.nn.gate import gate_values
from regard.nn.heads import LossContext, identity_reduce, total_loss
from regard.profiling.memory import available_bytes
from regard.training.callbacks import (
    BatchEnd,
    Callback,
    Callbacks,
    Checkpoint,
    EpochEnd,
    EpochStart,
    RunStart,
    Snapshot,
    standard_callbacks,
)
from regard.training.callbacks.events import EpochRow
from regard.training.ema import Ema
from regard.training.folder import RunFolder
from regard.training.layer_errors import check_all_used, explain_layer_errors
from regard.training.optim import Length, build_optimizer, choose_optimizer, schedule, set_step
from regard.training.precision import FABRIC
from regard.training.prepare import class_weights, fit_classes, fit_head, freeze, freeze_bn_stats, validation_split
from regard.training.state import State, checked_state
from regard.types import LetterboxedBatch, Targets

log = logging.getLogger("regard.training")

CACHE_FOLDER = "image-cache"
"""Folder of ``cache="disk"``, next to the run's, so that neighbouring runs share it."""
MOST_NAMES = 8
"""Largest number of class names in a message."""


class Trainer:
    """One run: a detector, a data set, settings, and the folder that keeps it all.

    Args:
        fabric: devices, processes and precision.
        detector: what to train; replaced by a copy if the data have other classes.
        data: with a training split, and one to validate on.
        settings: the run's settings.
        folder: where the run is kept; only the first process writes.
        config: contents of ``run.json`` apart from the settings.
        callbacks: the user's, called after those that every run has; only in the first process.
        verbose: whether the first process prints the progress.
        resume: continue the folder's run; its detector is already fitted to the data.
    """

    def __init__(
        self,
        fabric: Fabric,
        detector: Detector,
        data: DetectionDataset,
        settings: TrainSettings,
        folder: Path,
        config: Mapping[str, Any],
        *,
        callbacks: Sequence[Callback] = (),
        verbose: bool = True,
        resume: bool = False,
    ) -> None:
        self.fabric, self.data, self.settings, self.path, self.resume = fabric, data, settings, folder, resume
        self.recipe: Recipe = settings.recipe
        self.train_records = data.splits["train"]
        self.val_name, self.val_records = validation_split(data)
        self.state = State(0, [], (-1.0, -1))
        self.class_weights = class_weights(self.train_records, len(data.names), settings.class_weight_power)
        self.stop_reason = ""
        self.detector = self._prepare(detector)
        self.callbacks = Callbacks()
        if fabric.is_global_zero:
            made = {"device": str(fabric.device), "precision": fabric.strategy.precision.precision}
            config = {**config, **made, "settings": describe(settings)}
            checkpoint = Checkpoint(RunFolder(folder), config, self._snapshot, self.callbacks.emit)
            own = standard_callbacks(checkpoint, plots=settings.plots, verbose=verbose)
            self.callbacks.callbacks += [*own, *callbacks]

    def _prepare(self, detector: Detector) -> Detector:
        check_imgsz(detector, self.settings.imgsz)
        torch.manual_seed(_stream(self.settings.seed))  # new classes start from random weights
        detector, report = fit_classes(detector, self.data)
        names = self.data.names
        if report:
            listed = first_names(names, MOST_NAMES)
            self._say(f"classes, {len(names)} from the data: {listed}")
            if report.partly or report.initialised:
                self._say(report.to_text())
        if self.settings.autoanchor and not self.resume:
            fitted = fit_head(detector, self.train_records, self.settings)
            if fitted:
                self._say(fitted)
        frozen = freeze(detector, self.settings.freeze)
        if frozen:
            self._say("frozen: " + ", ".join(frozen))
            new = {report.layer_of[key] for key in (*report.partly, *report.initialised)} if report else set()
            if self.fabric.is_global_zero and (never := sorted(new.intersection(frozen))):
                log.warning("the layers %s are frozen, so their newly initialised values never learn", ", ".join(never))
        return detector

    def _say(self, message: str) -> None:
        """Log a message in the first process only."""
        if self.fabric.is_global_zero:
            log.info("%s", message)

    def fit(self) -> None:
        """Train until all epochs are done, or nothing has improved for ``patience`` epochs."""
        settings, fabric = self.settings, self.fabric
        self.loader = self._train_loader()
        self.val_batches = self._val_batches()
        # Convolutions are faster with channels last, both on CPUs and GPUs; the average has the same layout.
        self.detector.train().to(memory_format=torch.channels_last)
        self.length = Length(len(self.loader), settings.epochs, settings.batch)
        self.optim = self._choose_optimizer()
        self.ema = Ema(self.detector, self.optim.ema_decay, self.optim.ema_tau)
        self.model, self.optimizer = self._set_up()
        if self.resume:
            self._resume()
        self._report_start()
        fabric.barrier()
        for epoch in range(self.state.epoch, settings.epochs):
            if self._is_stalled():
                break
            self.callbacks.emit(EpochStart(epoch + 1, settings.epochs, len(self.loader), self.detector))
            started = time.perf_counter()
            with explain_layer_errors(self.detector, str(fabric.strategy.precision.precision)):
                losses = self._train_epoch(epoch)
            trained = time.perf_counter()
            metrics = self._validate() if self._is_due(epoch) else None
            row = self._row(epoch, losses, metrics, trained - started, time.perf_counter() - trained)
            self._finish_epoch(epoch, row, losses, metrics)
        fabric.barrier()  # the other processes continue by reading what the first has written

    def _report_start(self) -> None:
        self.callbacks.emit(
            RunStart(
                settings=self.settings,
                folder=self.path,
                model=self.detector,
                data=self.data,
                epoch=self.state.epoch,
                rows=tuple(self.state.rows),
                device=self.fabric.device,
                processes=self.fabric.world_size,
            )
        )

    @property
    def averaged(self) -> Detector:
        """The detector with averaged weights, which is what is measured and kept."""
        averaged = self.ema.model
        assert isinstance(averaged, Detector)
        return averaged

    def _train_loader(self) -> TrainLoader:
        settings = self.settings
        self.cache = settings.cache if settings.cache != "auto" else self._choose_cache()
        return TrainLoader(
            self.train_records,
            settings=self.recipe.augment,
            imgsz=settings.imgsz,
            batch=settings.batch,
            seed=settings.seed,
            workers=settings.workers,
            cache=self.cache,
            cache_dir=self.path.parent / CACHE_FOLDER,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
            rect=settings.rect,
            stride=self.detector.max_stride,
        )

    def _choose_cache(self) -> CacheKind:
        free = available_bytes(torch.device("cpu")) // self.fabric.world_size
        return choose_cache(len(self.train_records) + len(self.val_records), self.settings.imgsz, free)

    def _val_batches(self) -> Iterable[LetterboxedBatch]:
        settings = self.settings
        stride = self.detector.max_stride
        loader = ValidationLoader(
            self.val_records, imgsz=settings.imgsz, batch=settings.batch, workers=0, stride=stride
        )
        return CachedBatches(loader) if self.cache == "ram" else loader

    def _choose_optimizer(self) -> OptimSettings:
        given, images = self.recipe.optim, len(self.train_records)
        chosen = choose_optimizer(given, self.length, images, len(self.data.names))
        if chosen != given:
            self._say(f"optimizer {given.optimizer}: {chosen.optimizer}, lr {chosen.lr:g}")
        return chosen

    def _set_up(self) -> tuple[Any, Optimizer]:
        scaled = self.fabric.strategy.precision.precision == FABRIC["fp16"]
        optimizer = build_optimizer(self.detector, self.optim, self.length, scaled=scaled)
        model, wrapped = self.fabric.setup(self.detector, optimizer)
        self.ema.model.to(self.fabric.device)
        return model, wrapped

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch and return the mean of each part of the loss."""
        settings = self.settings
        torch.manual_seed(_stream(settings.seed, epoch, self.fabric.global_rank))
        self._to_training_mode()
        mosaic = epoch < settings.epochs - self.recipe.close_mosaic
        steps = len(self.loader)
        names, gathered = self.detector.head.losses, 0
        sums = torch.zeros(len(names), device=self.fabric.device)
        self.optimizer.zero_grad()
        for i, batch in enumerate(self.loader.epoch(epoch, mosaic=mosaic)):
            step = schedule(epoch * steps + i, self.optim, self.length)
            set_step(self.optimizer, step)
            gathered += 1
            is_update = gathered >= step.accumulate or i == steps - 1
            images = batch.images.to(self.fabric.device, non_blocking=True, memory_format=torch.channels_last)
            images = self._scaled(images.float().div_(255), epoch, i)
            with self.fabric.no_backward_sync(self.model, enabled=not is_update):
                losses = self._losses(self.model(images), batch.targets.to(self.fabric.device), images, epoch)
                self.fabric.backward(total_loss(losses, batch.total_images))
            if self.fabric.world_size > 1 and i == 0:
                check_all_used(self.detector)
            if is_update:
                self._update()
                gathered = 0
            sums += torch.stack([losses[name].detach() for name in names])
            if self.callbacks:
                so_far = dict(zip(names, (sums / (i + 1)).tolist(), strict=True))
                lr = self.optimizer.param_groups[0]["lr"]
                self.callbacks.emit(BatchEnd(epoch + 1, i + 1, steps, batch, so_far, lr, self.detector))
                if not self.detector.training:  # a callback has predicted with it
                    self._to_training_mode()
        means = self.fabric.all_reduce(sums / steps, reduce_op="mean")
        assert isinstance(means, Tensor)
        found = dict(zip(names, means.tolist(), strict=True))
        if not all(map(math.isfinite, found.values())):
            raise RegardError(
                f"the loss is not finite in epoch {epoch + 1}: {found}",
                hint="lower the learning rate, or train in float32; the last finished epoch is kept and can be resumed",
            )
        return found

    def _to_training_mode(self) -> None:
        self.detector.train()
        freeze_bn_stats(self.detector, self.settings.freeze_batchnorm)

    def _losses(self, levels: list[Tensor], targets: Targets, images: Tensor, epoch: int) -> dict[str, Tensor]:
        reduce = self._sum_over_processes if self.fabric.world_size > 1 else identity_reduce
        progress = epoch / max(self.settings.epochs - 1, 1)
        context = LossContext(self.recipe.loss, max(images.shape[2:]), reduce, progress, self.class_weights)
        return self.detector.head.criterion(levels, targets, context)

    def _sum_over_processes(self, counts: Tensor) -> Tensor:
        summed = self.fabric.all_reduce(counts, reduce_op="sum")
        assert isinstance(summed, Tensor)
        return summed

    def _scaled(self, images: Tensor, epoch: int, i: int) -> Tensor:
        """Resize a batch to a random size from 0.5 to 1.5 times the input size, if multi-scale is on."""
        if not self.settings.multi_scale:
            return images
        stride, imgsz = self.detector.max_stride, self.settings.imgsz
        rng = np.random.default_rng([self.settings.seed, epoch, i])
        side = max(round(rng.uniform(0.5, 1.5) * imgsz / stride), 1) * stride
        factor = side / max(images.shape[2:])
        size = [max(math.ceil(n * factor / stride), 1) * stride for n in images.shape[2:]]
        return F.interpolate(images, size=size, mode="bilinear", align_corners=False)

    def _update(self) -> None:
        if limit := self.optim.clip_norm:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.update(self.detector)

    def _is_due(self, epoch: int) -> bool:
        return (epoch + 1) % self.settings.val_every == 0 or epoch == self.settings.epochs - 1

    def _validate(self) -> Metrics | None:
        """Measure the averaged weights, in the first process."""
        if not self.fabric.is_global_zero:
            return None
        return evaluate(fuse(self.averaged), self.val_batches, self.val_records, self.data.names)

    def _row(
        self, epoch: int, losses: dict[str, float], metrics: Metrics | None, seconds: float, val_seconds: float
    ) -> EpochRow:
        row: EpochRow = {"epoch": epoch + 1} | {f"train/{name}": value for name, value in losses.items()}
        for name in ("ap", "ap50", "ap75", "precision", "recall", "f1"):
            row[f"val/{name}"] = getattr(metrics, name) if metrics else math.nan
        row["lr"] = self.optimizer.param_groups[0]["lr"]
        row |= {f"gate/{name}": value for name, value in named_gates(self.detector).items()}
        row["images_per_second"] = len(self.train_records) / seconds
        return row | {"train_seconds": seconds, "val_seconds": val_seconds}

    def _finish_epoch(self, epoch: int, row: EpochRow, losses: Mapping[str, float], metrics: Metrics | None) -> None:
        """Record the results of an epoch and report them."""
        is_best = self.state.finish(row, metrics.fitness if metrics else math.nan)
        self.callbacks.emit(
            EpochEnd(
                epoch=epoch + 1,
                epochs=self.settings.epochs,
                losses=losses,
                metrics=metrics,
                is_best=is_best,
                rows=tuple(self.state.rows),
                model=self.detector,
                averaged=self.averaged,
            )
        )

    def _is_stalled(self) -> bool:
        """Whether the run ends early, in all processes."""
        patience = self.settings.patience
        is_stalled = bool(self.fabric.broadcast(self.state.is_stalled(patience, self.settings.val_every)))
        if is_stalled:
            self.stop_reason = f"no epoch of the last {patience} was better than epoch {self.state.best[1] + 1}"
        return is_stalled

    def _snapshot(self) -> Snapshot:
        """Collect the contents of a checkpoint."""
        rows, settings = self.state.rows, describe(self.settings)
        extra = {"epoch": self.state.epoch, "gates": named_gates(self.averaged), "val_split": self.val_name}
        extra |= {"results": rows[-1] if rows else {}}
        return Snapshot(self.averaged, settings, extra, self._state())

    def _state(self) -> dict[str, Any]:
        """Collect what resuming needs."""
        return {
            "epoch": self.state.epoch,
            "rows": self.state.rows,
            "best": list(self.state.best),
            "model": self.detector.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def _resume(self) -> None:
        folder = RunFolder(self.path)
        state = checked_state(
            folder.read_state(),
            self.path / "state.pt",
            template=self._state(),
            optimizer=self.optimizer,
            epochs=self.settings.epochs,
        )
        self.detector.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.state = State(state["epoch"], state["rows"], tuple(state["best"]))


def named_gates(detector: Detector) -> dict[str, float]:
    """Collect the value of every gate by the name of its layer."""
    names = [row.name for row in detector.spec.layers]
    return {names[int(path.split(".")[1])]: value for path, value in gate_values(detector).items()}


def _stream(*numbers: int) -> int:
    """Derive a different seed from each tuple of numbers."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1, np.uint64)[0])
