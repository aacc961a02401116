"""The model card: what a published detector is, where it comes from, and how well it does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regard.ablate.digits import counted
from regard.ablate.schema import metric_name
from regard.config import IMGSZ
from regard.errors import warn
from regard.graph.detector import Detector
from regard.nn.capture import attention_modules
from regard.nn.gate import Gated
from regard.publish.facts import Metrics, RunFacts, read_facts
from regard.publish.markdown import escaped
from regard.publish.origin import Statement, check_origin, describe_start, recorded
from regard.publish.own_layers import own_layers
from regard.publish.study import study_section

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
    record = recorded(detector, folder, repository)
    check_origin(stated, record)
    facts = None if folder is None else read_facts(folder, detector)
    name = repository.partition("/")[2] or repository
    started = escaped(describe_start(stated, record)) or UNSTATED
    if started is UNSTATED:
        warn("the card states no start weights: give start and start_license, or from_scratch")
    classes = "1 class" if len(detector.names) == 1 else f"{len(detector.names)} classes"
    parts = [
        _metadata(name, license, detector, facts),
        f"# {name}",
        f"An object detector for {classes}: {', '.join(map(escaped, detector.names.values()))}.",
        _model_section(detector, facts),
        f"## Licence\n\nThis model: {escaped(license)}. {started}",
        *(_data_section(facts) if facts else ()),
        *((study_section(Path(study), detector, facts, folder),) if study is not None else ()),
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
    if facts and not facts.also_trained_on:  # a site that lists results would show them without the warning of the text
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
        f"It needs {escaped(layer.name)}, a layer of the publisher's own that is neither part of regard nor in this "
        f"repository: {escaped(layer.where())}."
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
    settings, metrics, sizes = facts.config.settings, facts.metrics, escaped(facts.config.data.sizes)
    best = f" The weights are those of epoch {metrics.epoch}." if metrics.epoch else ""
    yield (
        f"## Data and training\n\nData set: {escaped(facts.data_name)} ({sizes}). Trained for {_length(facts)} at "
        f"{settings.imgsz} pixels, batch {settings.batch}, seed {settings.seed}, recipe "
        f"{escaped(settings.recipe.name)}.{best}"
    )
    numbers = [f"| {metric_name(key)} | {value:.4f} |" for key, value in metrics.headline().items()]
    rows = [
        f"| {escaped(entry.name)} | {entry.labels} | {_number(entry.ap)} | {_number(entry.ap50)} |"
        for entry in metrics.per_class
        if entry.labels
    ]
    unlabelled = len(metrics.per_class) - len(rows)
    left_out = f"{unlabelled} of {len(metrics.per_class)} classes have no labels in this split and are left out."
    yield "\n".join(
        [
            f"## Metrics on {escaped(metrics.split)}",
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
