"""The section of the model card on a study: what it compared, and what the published model has to do with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from regard.ablate.digits import counted, mean_and_interval
from regard.ablate.folder import RESULT, RunRecord, StudyRecord, read_json, read_study
from regard.ablate.format import headline, sentences, verdict_label
from regard.ablate.schema import metric_name
from regard.ablate.verdict import analyse
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.graph.read import read_spec
from regard.graph.spec import ModelSpec
from regard.publish.facts import RunFacts, read_data
from regard.publish.markdown import escaped
from regard.system.files import is_file
from regard.training.run import fingerprint
from regard.weights.paths import CHECKPOINTS

UNCOMPARED = (
    "The study was published without its models, so it was not checked whether one of them has this model's layers."
)


def study_section(folder: Path, detector: Detector, facts: RunFacts | None, run: Path | None) -> str:
    """Write the section.

    Args:
        folder: of the study.
        detector: the published model.
        facts: of its run; None without one.
        run: folder of its run.

    Raises:
        RegardError: the study cannot be read, or is of other classes, models, data or start weights.
    """
    study = read_study(folder)
    _check_study(study, detector, facts)
    results = analyse(study)
    rows = [
        f"| {escaped(name)} | {' | '.join(mean_and_interval(one.mean, one.interval))} | {len(one.seeds)} | "
        f"{verdict_label(one, study.mde)} |"
        for name, one in results.judgements.items()
    ]
    return "\n".join(
        [
            "## The study behind it",
            "",
            escaped(headline(study, results)),
            "",
            escaped(" ".join([_part_of_model(study, detector, run), *_setup(study)])),
            "",
            f"| variant | difference in {metric_name(study.metric)} | interval | seeds | verdict |",
            "|---|--:|---|--:|---|",
            *rows,
            "",
            *(f"- {escaped(line)}" for line in sentences(study, results)),
            *[f"- {UNCOMPARED}"] * (not _models(study)),
        ]
    )


def _part_of_model(study: StudyRecord, detector: Detector, run: Path | None) -> str:
    """Which run of the study the model is, or that it is none of them, and which variant has its layers."""
    own = fingerprint(detector)["sha256"]
    measured = [_measured_weights(one) for one in study.runs]
    if same := next((one for one, weights in zip(study.runs, measured, strict=True) if weights == own), None):
        return f"The published model is the run of variant {same.variant} with seed {same.seed}."
    started = detector.started_from
    folders = {path.resolve() for path in (run, Path(started).parent if started else None) if path is not None}
    if of_run := next((one for one in study.runs if one.folder.resolve() in folders), None):
        which = study.plan.get("epoch", "last")
        other = f"the study measured the weights of its {which} epoch, which are others"
        return f"The published model is from the run of variant {of_run.variant} with seed {of_run.seed}; {other}."
    alike = [name for name, file in _models(study).items() if _graph(read_spec(file)) == _graph(detector.spec)]
    layers = f" It has the layers of variant {' and of '.join(alike)}." if alike else ""
    if all(measured):
        return f"The published model is none of the runs that the study measured.{layers}"
    return f"Whether the published model is one of the study's runs is not recorded.{layers}"


def _measured_weights(run: RunRecord) -> str:
    """Hash of the weights of a run that were measured; "" if it is not recorded."""
    file = run.folder / RESULT
    return str(read_json(file).get("weights", "")) if is_file(file) else ""


def _setup(study: StudyRecord) -> Iterator[str]:
    """Data, length and seeds of the study's runs, as far as it states them."""
    data = read_data(study.provenance.get("data"))
    if data and "source" in data.model_fields_set:
        yield f"Data set of the study: {data.name}" + (f" ({data.sizes})." if data.sizes else ".")
    epochs = sorted({variant.epochs for variant in study.variants} - {0})
    if epochs:
        length = counted(epochs[0], "epoch") if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]} epochs"
        yield f"Each run: {length}."
    yield f"Seeds: {', '.join(map(str, study.seeds))}."


def _check_study(study: StudyRecord, detector: Detector, facts: RunFacts | None) -> None:
    """Reject a study of other classes, of other models, or of other data than the run's."""
    data = study.provenance.get("data")
    data = data if isinstance(data, Mapping) else {}
    names, said = data.get("names"), data.get("splits")
    if isinstance(names, list) and names != [detector.names[i] for i in sorted(detector.names)]:
        what = f"not the study behind this model: its data has the classes {', '.join(map(str, names))}"
        raise RegardError(what, file=study.folder, expected=", ".join(detector.names.values()))
    files = _models(study)
    if files and all(_graph(read_spec(file)) != _graph(detector.spec) for file in files.values()):
        raise RegardError("no variant of the study has the layers of the model", file=study.folder)
    began = [name for name in (study.plan.get("weights"), study.plan.get("base")) if isinstance(name, str)]
    begun = next((Path(name).name for name in began if Path(name).suffix.lower() in CHECKPOINTS), None)
    if begun and detector.origin is not None and Path(detector.origin).stem != Path(begun).stem:
        what = f"the study's runs started from {begun}, the model from {detector.origin or 'no weights'}"
        raise RegardError(what, file=study.folder, expected="a study from the same weights")
    used = {name: split.model_dump() for name, split in facts.config.data.splits.items()} if facts else {}
    if isinstance(said, Mapping) and any(said[name] != used[name] for name in said.keys() & used.keys()):
        raise RegardError(f"the study's data has {dict(said)}, that of the run {used}", file=study.folder)


def _models(study: StudyRecord) -> dict[str, Path]:
    """The models that are there, by variant; a study may be published without them."""
    return {variant.name: file for variant in study.variants if is_file(file := study.folder / variant.model)}


def _graph(spec: ModelSpec) -> ModelSpec:
    """A graph without its anchors, which are fitted to data."""
    return replace(spec, anchors=None)
