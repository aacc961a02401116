"""Detectors as the subject of a study: starting, training and evaluating a run, its costs and its attention maps."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regard.ablate.data import check_seeds, checksum, file_sums, overlap_lines, resampled_metric
from regard.ablate.folder import START, CostRecord, RunRecord, StudyRecord, Variant, read_json
from regard.ablate.hardware import Hardware, describe_device, device_here
from regard.ablate.plan import Plan
from regard.ablate.trainable import Budget, Evaluation, Experiment, Missing
from regard.ablate.variants import DetectorVariant, VariantBuilder, order_seed
from regard.config import TrainSettings, describe
from regard.data.dataset import DetectionDataset, Sample
from regard.data.validation import ValidationLoader
from regard.evaluation import detect, score
from regard.evaluation.coco import coco_rows
from regard.evaluation.metrics import HEADLINE
from regard.graph.cost import row_costs
from regard.graph.detector import Detector
from regard.graph.spec import LayerSpec
from regard.profiling.advice import bounds
from regard.profiling.latency import latencies_in_turn
from regard.profiling.memory import LiveBytes
from regard.system.scratch import scratch_folder
from regard.training.folder import RunFolder
from regard.training.resume import resume_training
from regard.training.run import describe_data, fingerprint, run_training
from regard.types import Detections
from regard.visualize.attend import attend, attention_layers
from regard.weights.detector import load_detector, save_detector

PROBE_BATCHES = 3
"""Batches per epoch of a short measurement."""

REPEATS = 20
"""Paired repeats of all variants, for their latencies."""


class DetectorTrainable:
    """One training of one detector; implements `regard.ablate.trainable.Trainable`.

    Args:
        folder: the run's folder.
        plan: the study's plan, JSON-ready.
        settings: `TrainSettings` of the run, JSON-ready, with nothing left for its machine to decide.
        limit: number of images used of each split; 0 uses all.
        builder: builds the variants of the plan; created from the plan if None.
    """

    def __init__(
        self,
        folder: Path,
        plan: Mapping[str, Any],
        settings: Mapping[str, Any],
        limit: int = 0,
        builder: VariantBuilder | None = None,
    ) -> None:
        self.folder, self.limit = folder, limit
        self.settings = TrainSettings.model_validate(settings)
        self.builder = builder or VariantBuilder(Plan.model_validate(plan))

    def start(self, variant: str, seed: int) -> None:
        """Write the detector that the run starts from.

        Raises:
            RegardError: it cannot be built.
        """
        entry = next(entry for entry in self.builder.variants if entry.name == variant)
        RunFolder(self.folder)
        save_detector(self.folder / START, self.builder.start(entry, seed))

    def train(self, budget: Budget) -> None:
        """Train, or continue if an earlier process had begun to.

        Raises:
            RegardError: the data, the settings or the hardware do not allow it.
        """
        modules = self.builder.modules
        if (self.folder / "run.json").is_file() and (self.folder / "state.pt").is_file():
            resume_training(self.folder, modules=modules)
        else:
            settings = self.settings.model_copy(update={"epochs": budget.epochs})
            run_training(load_detector(self.folder / START, modules=modules), self._data, settings, self.folder)

    def evaluate(self, split: str) -> Evaluation:
        """Measure the last or best weights, depending on the plan; images are detections as the rows of a COCO file."""
        samples, names = self._data.splits[split], self._data.names
        detector = load_trained(self.folder, self.builder).to(device_here(self.settings.device))
        detections = self._detect(detector, samples)
        values = score(detections, samples, names).to_dict()
        return Evaluation(
            metrics={name: values[name] for name in HEADLINE},
            images=coco_rows(detections, range(1, len(samples) + 1), range(len(names))),
            per_class={entry["name"]: entry["ap"] for entry in values["per_class"]},
            gates=read_json(self.folder / "metrics.json")["gates"],
            fingerprint=fingerprint(detector)["sha256"],
        )

    def _detect(self, detector: Detector, samples: Sequence[Sample]) -> list[Detections]:
        """Detect as validation during training does."""
        imgsz, batch = self.settings.imgsz, self.settings.batch
        loader = ValidationLoader(samples, imgsz=imgsz, batch=batch, workers=0, stride=detector.max_stride)
        return detect(detector, loader, samples)[0]

    @cached_property
    def _data(self) -> DetectionDataset:
        data = self.builder.data
        if not self.limit:
            return data
        return replace(data, splits={name: samples[: self.limit] for name, samples in data.splits.items()})


class DetectorExperiment(Experiment):
    """The variants of a plan.

    Args:
        plan: what is compared.

    Raises:
        RegardError: the data, the base, the weights or a module cannot be read.
    """

    def __init__(self, plan: Plan) -> None:
        self.builder = VariantBuilder(plan)
        images = {split: len(samples) for split, samples in self.builder.data.splits.items()}
        super().__init__(DetectorTrainable, [DetectorVariant("base", "base")], images)
        self.plan, self.probe_limit = plan, PROBE_BATCHES * plan.batch

    def variants(self) -> Sequence[DetectorVariant]:
        """The variants of the plan with their controls, the base first.

        Raises:
            RegardError: a variant cannot be built.
        """
        return self.builder.variants

    def arguments(
        self, variant: Variant, seed: int, budget: Budget, hardware: Hardware, limit: int = 0
    ) -> dict[str, Any]:
        """Arguments of `DetectorTrainable`; anchors are fitted for the base, once for all variants of a seed."""
        settings = self.plan.settings(order_seed(variant, seed), budget.epochs)
        settings = settings.model_copy(update={**vars(hardware), "autoanchor": False})
        if limit:
            settings = with_mosaic(settings, self.plan.planned_epochs)
        return {"plan": describe(self.plan), "settings": describe(settings), "limit": limit}

    def run(self, folder: Path, arguments: Mapping[str, Any]) -> DetectorTrainable:
        """Make the run in this process, where the variants are available already."""
        return DetectorTrainable(folder, **arguments, builder=self.builder)

    def check_seeds(self) -> dict[str, str]:
        """Hash the base's starting point and the first batch of each seed.

        Raises:
            RegardError: two of them are equal.
        """
        return check_seeds(self.builder)

    def description(self) -> dict[str, Any]:
        """Data and files with their checksums, images that are both trained on and measured on, notes on controls."""
        data = self.builder.data
        return {
            "data": {**describe_data(data), "sha256": checksum(data), "overlap": overlap_lines(data)},
            "files": file_sums(self.plan),
            "controls": self.builder.control_notes(),
        }

    def model_file(self, variant: Variant) -> str:
        """Graph of a variant as YAML."""
        assert isinstance(variant, DetectorVariant)
        return self.builder.start(variant, self.plan.seeds[0]).spec.to_yaml()

    def resample(self, run: RunRecord, metric: str, weights: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Compute AP of a run's detections on draws of val images."""
        return resampled_metric(run, metric, weights, *self.samples())

    def samples(self) -> tuple[Sequence[Sample], Sequence[str]]:
        """The val images and the class names."""
        return self.builder.data.splits["val"], self.builder.data.names

    def costs(self, runs: Mapping[str, RunRecord], device: str, missing: Missing) -> dict[str, CostRecord]:
        """Measure what each variant costs, all in one process, on the device of the runs if it is here."""
        detectors = {}
        for name, run in runs.items():
            with missing.unless_done(f"costs of {name}"):
                detector = load_trained(run.folder, self.builder).to(device_here(device)).eval()
                measure_costs({name: detector}, imgsz=self.plan.imgsz, repeats=1)  # what fails should fail alone
                detectors[name] = detector
        if not detectors:
            return {}
        costs = measure_costs(detectors, imgsz=self.plan.imgsz)
        return {name: replace(cost, device=describe_device(device)) for name, cost in costs.items()}

    def figures(self, study: StudyRecord, missing: Missing) -> list[tuple[str, bytes]]:
        """Draw a map for every attention layer that a variant has and the base has not.

        Each is of the first finished seed, on the val image with most boxes; the query is the centre of its largest.
        """
        figures = []
        with missing.unless_done("attention maps"), scratch_folder(Path(tempfile.gettempdir())) as temporary:
            sample = max(self.samples()[0], key=lambda sample: len(sample.class_ids))
            image = sample.image.read()
            query = _centre_of_largest(sample, image.shape[:2])
            common = self._attention(study, study.base.name)
            for variant in (v for v in study.variants if v.role == "variant"):
                for name, row in self._attention(study, variant.name).items():
                    if common.get(name) == row:
                        continue
                    with missing.unless_done(f"attention map of {name} in {variant.name}"):
                        seed, run = next(iter(study.finished(variant.name).items()))
                        detector = load_trained(run.folder, self.builder)
                        view = attend(detector, image, layer=name, query=query, imgsz=self.plan.imgsz)
                        file = view.save(temporary / "map.png")
                        figures.append((f"{variant.name}, seed {seed}: {view.title}", file.read_bytes()))
        return figures

    def _attention(self, study: StudyRecord, variant: str) -> dict[str, LayerSpec]:
        """Attention layers of a variant; none if no run of it has finished."""
        run = next(iter(study.finished(variant).values()), None)
        return attention_rows(load_trained(run.folder, self.builder)) if run else {}


def with_mosaic(settings: TrainSettings, epochs: int | None) -> TrainSettings:
    """Keep mosaic to the end of a short measurement, unless runs of so many epochs never have any."""
    if epochs is not None and epochs <= settings.recipe.close_mosaic:
        return settings
    return settings.model_copy(update={"recipe": settings.recipe.model_copy(update={"close_mosaic": 0})})


def load_trained(folder: Path, builder: VariantBuilder) -> Detector:
    """Load the weights of a finished run, of the last or the best epoch, depending on the plan."""
    return load_detector(folder / f"{builder.plan.epoch}.safetensors", modules=builder.modules)


def measure_costs(detectors: Mapping[str, Detector], *, imgsz: int, repeats: int = REPEATS) -> dict[str, CostRecord]:
    """Measure the cost of each detector for one image; their latencies are taken in turn.

    Args:
        detectors: by name, in evaluation mode, all on one device.
        imgsz: side of the image in pixels.
        repeats: number of repeats that count.
    """
    device = next(next(iter(detectors.values())).parameters()).device
    image = torch.rand(1, 3, imgsz, imgsz, device=device)
    functions = [lambda model=model: model(image) for model in detectors.values()]
    times = latencies_in_turn(functions, device, repeats)
    return {
        name: _cost(detector, image, imgsz, seconds)
        for (name, detector), seconds in zip(detectors.items(), times, strict=True)
    }


def _cost(detector: Detector, image: torch.Tensor, imgsz: int, seconds: Sequence[float]) -> CostRecord:
    costs = row_costs(detector, imgsz)
    with torch.no_grad(), LiveBytes() as live:
        detector(image)
    # Fraction of the time, layer by layer, that remains if all of them mix for nothing. A ratio below 1 is noise.
    left = 1 - sum(1 - 1 / max(bound.by_time, 1.0) for bound in bounds(detector, image, costs, len(seconds)))
    return CostRecord(
        parameters=sum(cost.parameters for cost in costs),
        flops=sum(cost.flops for cost in costs),
        latency_ms=[1e3 * value for value in seconds],
        peak_mib=live.peak / 2**20,
        bound=max(1 / left, 1.0) if left > 0 else float("inf"),
    )


def attention_rows(detector: Detector) -> dict[str, LayerSpec]:
    """By the name of each attention layer, the row of the graph that it is, or is part of, without its inputs.

    A name alone is not enough: what replaces a layer keeps its name.
    """
    names = [layer.name for layer in attention_layers(detector)]
    return {name: replace(detector.spec.row_of(name), inputs=()) for name in names}


def _centre_of_largest(sample: Sample, size: tuple[int, int]) -> tuple[float, float] | None:
    if not len(sample.class_ids):
        return None
    x, y = sample.boxes_cxcywh[sample.boxes_cxcywh[:, 2:].prod(axis=1).argmax(), :2]
    return float(x * size[1]), float(y * size[0])
