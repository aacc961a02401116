"""The model card: what a published detector is, where it comes from, and how well it does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from regard.ablate.digits import counted, mean_and_interval
from regard.ablate.folder import StudyRecord, read_study
from regard.ablate.format import headline, sentences, verdict_label
from regard.ablate.schema import metric_name
from regard.ablate.verdict import analyse
from regard.config import IMGSZ
from regard.errors import RegardError, warn
from regard.graph.detector import Detector
from regard.graph.read import read_spec
from regard.graph.spec import ModelSpec
from regard.nn.capture import attention_modules
from regard.nn.gate import Gated
from regard.publish.facts import Metrics, RunFacts, read_facts
from regard.publish.origin import Statement, check_origin, describe_start
from regard.publish.own_layers import own_layers
from regard.system.files import is_file
from regard.weights.paths import CHECKPOINTS

UNCOMPARED = (
    "The study was published without its models, so it was not checked whether one of them has this model's layers."
)
UNSTATED = "Start weights: not stated. If there were any, their licence may apply to this model too."


def model_card(
    detector: Detector,
    repository: str,
    *,
    license: str,
    start: str | None = None,
    start_license: str | None = None,
    permission: bool = False,
    from_scratch: bool = False,
    folder: Path | None = None,
    study: str | Path | None = None,
) -> str:
    """Write the model card, in Markdown with the metadata that the Hub reads; see `push_to_hub`.

    Raises:
        RegardError: the run or the study cannot be read, the study is of another model or of other data, or the file of
            the model, or the command of its run, names other start weights.
    """
    stated = Statement(license, start, start_license, permission, from_scratch)
    check_origin(stated, detector, folder, repository)
    facts = None if folder is None else read_facts(folder, detector)
    name = repository.partition("/")[2] or repository
    started = _text(describe_start(stated, detector, folder, repository)) or UNSTATED
    if started is UNSTATED:
        warn("the card states no start weights: give start and start_license, or from_scratch")
    parts = [
        _metadata(name, license, detector, facts),
        f"# {name}",
        f"An object detector for {len(detector.names)} classes: {', '.join(map(_text, detector.names.values()))}.",
        _model_section(detector, facts),
        f"## Licence\n\nThis model: {_text(license)}. {started}",
        *(_data_section(facts) if facts else ()),
        *(_study_section(Path(study), detector, facts) if study is not None else ()),
        _use_section(repository, detector, facts),
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(name: str, license: str, detector: Detector, facts: RunFacts | None) -> str:
    """Write the YAML at the top of the card; JSON is YAML, and escapes every text."""
    document: dict[str, Any] = {
        "license": license,
        "library_name": "regard",
        "pipeline_tag": "object-detection",
        "tags": ["object-detection", "regard", *["attention"] * bool(attention_modules(detector.named_layers()))],
    }
    if facts:
        headline = facts.metrics.headline()
        values = [{"type": key, "value": value, "name": metric_name(key)} for key, value in headline.items()]
        dataset = {"type": facts.data_name, "name": facts.data_name, "split": facts.metrics.split}
        result = {"task": {"type": document["pipeline_tag"]}, "dataset": dataset, "metrics": values}
        document["model-index"] = [{"name": name, "results": [result]}]
    lines = (f"{key}: {json.dumps(value, ensure_ascii=True)}" for key, value in document.items())
    return "\n".join(["---", *lines, "---"])


def _model_section(detector: Detector, facts: RunFacts | None) -> str:
    summary = detector.summary(_side(detector, facts))
    gates = [
        f"| {row.name} | {row.module} | {layer.gamma.item():+.4f} |"
        for row, layer in zip(detector.spec.layers, detector.model, strict=True)
        if isinstance(layer, Gated)
    ]
    table = ["", "| inserted layer | module | gate |", "|---|---|--:|", *gates] if gates else []
    needed = [
        f"It needs {_text(layer.name)}, a layer of the publisher's own that is neither part of regard nor in this "
        f"repository: {_text(layer.where())}."
        for layer in own_layers(detector)
    ]
    notes = [line for note in needed for line in ("", note)]
    return "\n".join(["## Model", "", f"{summary.totals}.", *notes, *table])


def _side(detector: Detector, facts: RunFacts | None) -> int:
    """Side of the image in pixels for which costs are stated: that of the training."""
    trained = facts.config.settings.imgsz if facts else IMGSZ
    side = max(trained, default=0) if isinstance(trained, list) else trained
    return side if side > 0 and side % detector.max_stride == 0 else IMGSZ


def _data_section(facts: RunFacts) -> Iterator[str]:
    settings, metrics = facts.config.settings, facts.metrics
    splits = ", ".join(
        f"{_text(name)} {split.images} images with {split.boxes} boxes"
        for name, split in facts.config.data.splits.items()
    )
    best = f" The weights are those of epoch {metrics.epoch}." if metrics.epoch else ""
    yield (
        f"## Data and training\n\nData set: {_text(facts.data_name)} ({splits}). Trained for {_length(facts)} at "
        f"{settings.imgsz} pixels, batch {settings.batch}, seed {settings.seed}, recipe "
        f"{_text(settings.recipe.name)}.{best}"
    )
    numbers = [f"| {metric_name(key)} | {value:.4f} |" for key, value in metrics.headline().items()]
    rows = [
        f"| {_text(entry.name)} | {entry.labels} | {_number(entry.ap)} | {_number(entry.ap50)} |"
        for entry in metrics.per_class
        if entry.labels
    ]
    unlabelled = len(metrics.per_class) - len(rows)
    left_out = f"{unlabelled} of {len(metrics.per_class)} classes have no labels in this split and are left out."
    yield "\n".join(
        [
            f"## Metrics on {_text(metrics.split)}",
            "",
            f"COCO protocol, {metrics.images} images. {_meaning(facts)}",
            "",
            "| metric | value |",
            "|---|--:|",
            *numbers,
            "",
            *_threshold(metrics),
            "| class | labels | AP | AP50 |",
            "|---|--:|--:|--:|",
            *rows,
            *(["", left_out] if unlabelled else []),
        ]
    )


def _meaning(facts: RunFacts) -> str:
    """What the metrics say about other images."""
    count, all_images = facts.also_trained_on, facts.metrics.images
    if count and count >= all_images:
        return "**All of these images are also in train, so the values say nothing about new images.**"
    chosen = "The best epoch was chosen on these images, so on others the values are probably lower."
    if count:
        return f"**{count} of these images are also in train, so the values say little about new images.** {chosen}"
    return chosen


def _threshold(metrics: Metrics) -> Iterator[str]:
    """At which confidence precision, recall and F1 were measured, which are no part of the COCO protocol."""
    if metrics.confidence is not None and {"precision", "recall", "f1"} & metrics.headline().keys():
        yield f"Precision, recall and F1 are those at IoU 0.5 and confidence {metrics.confidence:.3f}."
        yield ""


def _length(facts: RunFacts) -> str:
    """The epochs that were trained, as far as is known, and of how many."""
    planned = facts.config.settings.epochs
    if facts.trained is None:
        return f"at most {counted(planned, 'epoch')}"
    return f"{facts.trained} of {planned} planned epochs" if facts.trained < planned else counted(planned, "epoch")


def _check_study(study: StudyRecord, detector: Detector, facts: RunFacts | None) -> None:
    """Reject a study of other classes, of other models, or of other data than the run's."""
    data = study.provenance.get("data")
    data = data if isinstance(data, Mapping) else {}
    names, said = data.get("names"), data.get("splits")
    if isinstance(names, list) and names != [detector.names[i] for i in sorted(detector.names)]:
        what = f"not the study behind this model: its data has the classes {', '.join(map(str, names))}"
        raise RegardError(what, file=study.folder, expected=", ".join(detector.names.values()))
    files = _models(study)
    if files and all(_graph(read_spec(file)) != _graph(detector.spec) for file in files):
        raise RegardError("no variant of the study has the layers of the model", file=study.folder)
    began = [name for name in (study.plan.get("weights"), study.plan.get("base")) if isinstance(name, str)]
    begun = next((Path(name).name for name in began if Path(name).suffix.lower() in CHECKPOINTS), None)
    if begun and detector.origin is not None and Path(detector.origin).stem != Path(begun).stem:
        what = f"the study's runs started from {begun}, the model from {detector.origin or 'no weights'}"
        raise RegardError(what, file=study.folder, expected="a study from the same weights")
    used = {name: split.model_dump() for name, split in facts.config.data.splits.items()} if facts else {}
    if isinstance(said, Mapping) and any(said[name] != used[name] for name in said.keys() & used.keys()):
        raise RegardError(f"the study's data has {dict(said)}, that of the run {used}", file=study.folder)


def _models(study: StudyRecord) -> list[Path]:
    """The models of the variants that are there; a study may be published without them."""
    return [file for variant in study.variants if is_file(file := study.folder / variant.model)]


def _graph(spec: ModelSpec) -> ModelSpec:
    """A graph without its anchors, which are fitted to data."""
    return replace(spec, anchors=None)


def _study_section(folder: Path, detector: Detector, facts: RunFacts | None) -> Iterator[str]:
    study = read_study(folder)
    _check_study(study, detector, facts)
    results = analyse(study)
    rows = [
        f"| {_text(name)} | {' | '.join(mean_and_interval(one.mean, one.interval))} | {len(one.seeds)} | "
        f"{verdict_label(one, study.mde)} |"
        for name, one in results.judgements.items()
    ]
    yield "\n".join(
        [
            "## The study behind it",
            "",
            _text(headline(study, results)),
            "",
            f"| variant | difference in {metric_name(study.metric)} | interval | seeds | verdict |",
            "|---|--:|---|--:|---|",
            *rows,
            "",
            *(f"- {_text(line)}" for line in sentences(study, results)),
            *[f"- {UNCOMPARED}"] * (not _models(study)),
        ]
    )


def _use_section(repository: str, detector: Detector, facts: RunFacts | None) -> str:
    imgsz = facts and facts.config.settings.imgsz
    size = f", imgsz={imgsz}" if imgsz else ""
    imported, model = ["import regard"], f'"hf://{repository}"'
    if own := own_layers(detector):
        imported = [*(line for layer in own for line in layer.imported()), *imported]
        given = ", ".join(f'"{layer.name}": {layer.expression()}' for layer in own)
        model = f'regard.load("hf://{repository}", modules={{{given}}})'
    lines = "\n".join(imported)
    return f"""## Use

```python
{lines}

found = regard.predict({model}, "image.jpg"{size})
```

Made with [regard](https://pypi.org/project/regard/)."""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _text(value: object) -> str:
    """Write text from files so that it is neither markup nor a cell of its own."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(value).split()))
