"""What a run reports to its callbacks: one frozen dataclass per event. Epochs and steps count from 1.

Their ``repr`` leaves out what is long: models, data, batches and earlier results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import torch

from regard.config import TrainSettings
from regard.data.dataset import DetectionDataset
from regard.evaluation import Metrics
from regard.graph.detector import Detector
from regard.types import Batch

EpochRow: TypeAlias = dict[str, float]
"""One row of ``results.csv``: losses as ``train/<name>``, metrics as ``val/<name>``, gates, learning rate, times."""


@dataclass(frozen=True)
class RunStart:
    """Training is about to start, or to continue.

    Attributes:
        settings: all settings of the run.
        folder: folder of the run.
        model: the detector that is trained, fitted to the data.
        data: the data set.
        epoch: the last finished epoch: 0 unless the run is resumed.
        rows: the results of the finished epochs.
        device: where the first process computes.
        processes: number of processes.
    """

    settings: TrainSettings = field(repr=False)
    folder: Path
    model: Detector = field(repr=False)
    data: DetectionDataset = field(repr=False)
    epoch: int
    rows: Sequence[EpochRow] = field(repr=False)
    device: torch.device
    processes: int


@dataclass(frozen=True)
class EpochStart:
    """An epoch starts.

    Attributes:
        epoch: its number.
        epochs: number of epochs of the whole run.
        steps: number of batches per epoch and process.
        model: the detector that is trained.
    """

    epoch: int
    epochs: int
    steps: int
    model: Detector = field(repr=False)


@dataclass(frozen=True)
class BatchEnd:
    """A batch has been trained on.

    Attributes:
        epoch: number of the epoch.
        step: number of the batch in this epoch.
        steps: number of batches per epoch and process.
        batch: images and targets, as they came from the loader.
        losses: by name, the mean of each part of the loss over this epoch so far, in this process.
        lr: learning rate of the weights.
        model: the detector that is trained.
    """

    epoch: int
    step: int
    steps: int
    batch: Batch = field(repr=False)
    losses: Mapping[str, float]
    lr: float
    model: Detector = field(repr=False)


@dataclass(frozen=True)
class EpochEnd:
    """An epoch has been trained and, where it was due, validated.

    Attributes:
        epoch: its number.
        epochs: number of epochs of the whole run.
        losses: by name, the mean of each part of the loss over this epoch and all processes.
        metrics: of the averaged weights on the validation split; None where this epoch was not validated.
        is_best: whether every earlier epoch had a lower fitness (0.1 AP50 + 0.9 AP), or all, this one too, had 0.
        rows: the results of all epochs so far; the last row is this epoch's.
        model: the detector that is trained.
        averaged: the detector with averaged weights (EMA), which is what is validated and saved.
    """

    epoch: int
    epochs: int
    losses: Mapping[str, float]
    metrics: Metrics | None
    is_best: bool
    rows: Sequence[EpochRow] = field(repr=False)
    model: Detector = field(repr=False)
    averaged: Detector = field(repr=False)

    @property
    def row(self) -> EpochRow:
        """The results of this epoch, as in ``results.csv``."""
        return self.rows[-1]


@dataclass(frozen=True)
class CheckpointSaved:
    """The weights and the state of an epoch are on disk; the run can be resumed from here.

    Attributes:
        epoch: number of the epoch.
        folder: folder of the run.
        paths: the files that were written, such as ``last.safetensors``.
        is_best: whether ``best.safetensors`` is one of them.
    """

    epoch: int
    folder: Path
    paths: tuple[Path, ...]
    is_best: bool


@dataclass(frozen=True)
class RunEnd:
    """The run is complete, and its best weights have been measured.

    Attributes:
        folder: folder of the run.
        epoch: number of the last epoch.
        rows: the results of all epochs.
        model: the detector with the best weights, on the device of the first process.
        weights: the file that contains them.
        metrics: of these weights on the validation split.
        gates: the value of every gate by the name of its layer.
        reason: why the run ended before its last epoch; "" if it did not.
    """

    folder: Path
    epoch: int
    rows: Sequence[EpochRow] = field(repr=False)
    model: Detector = field(repr=False)
    weights: Path
    metrics: Metrics
    gates: Mapping[str, float]
    reason: str


@dataclass(frozen=True)
class RunFailed:
    """An exception, or Ctrl-C, ends the run; it is raised again after all callbacks were called.

    Attributes:
        folder: folder of the run.
        epoch: the last finished epoch, from which the run can be resumed.
        error: the exception.
    """

    folder: Path
    epoch: int
    error: BaseException


Event: TypeAlias = RunStart | EpochStart | BatchEnd | EpochEnd | CheckpointSaved | RunEnd | RunFailed
