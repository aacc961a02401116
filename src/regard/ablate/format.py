"""Results as text and numbers, the same on the page, in Markdown and in the terminal, and the table in the terminal."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from regard.ablate.digits import mean_and_interval, p_value, percent
from regard.ablate.folder import (
    FAILURE,
    PAGE,
    RESULT,
    RunRecord,
    StudyFolder,
    StudyRecord,
    Variant,
    numbers,
    read_json,
    read_study,
)
from regard.ablate.plan import Plan, StudySettings
from regard.ablate.power_text import needed_line, still_needed
from regard.ablate.schema import metric_name
from regard.ablate.verdict import (
    Judgement,
    PowerAnalysis,
    Results,
    Verdict,
    analyse,
)
from regard.data.paths import dataset_name
from regard.system.plain_table import PlainTable
from regard.system.translation import translate

MARKS = {Verdict.HELPS: "▲", Verdict.HURTS: "▼", Verdict.NO_DIFFERENCE: "=", Verdict.CANT_TELL: "?"}


def verdict_label(judgement: Judgement, mde: float) -> str:
    """Name the verdict, with the smallest difference that matters if it plays a part."""
    if judgement.verdict is Verdict.NO_DIFFERENCE:
        return f"no difference larger than {mde:g}"
    if judgement.verdict in (Verdict.HELPS, Verdict.HURTS) and judgement.is_small:
        return f"{judgement.verdict.label}, by less than {mde:g}"
    return judgement.verdict.label


def question(plan: StudySettings, variants: Sequence[Variant]) -> str:
    """The question of a study whose plan states none."""
    if isinstance(plan, Plan):
        return f"Does a change of {Path(plan.base).name} improve it on {dataset_name(plan.data)}?"
    return which_improves([variant.name for variant in variants[1:]], plan.metric)


def which_improves(names: Sequence[str], metric: str, comma: str = ", ") -> str:
    """The question of a study of another program, whose plan states none."""
    return f"Which of {comma.join(names)} improves {metric_name(metric)}?"


def sentence(name: str, judgement: Judgement, study: StudyRecord, analysis: PowerAnalysis) -> str:
    """Describe the result of one variant against the base."""
    metric, mde, seeds = metric_name(study.metric), f"{study.mde:g}", len(judgement.seeds)
    mean, ends = mean_and_interval(judgement.mean, judgement.interval)
    amount = f"{mean} {metric}"
    inside = f"{percent(1 - study.alpha)} interval {ends}, {seeds} paired seeds"
    needed = f"; {more}" if (more := still_needed(judgement, analysis)) else ""
    if judgement.reason:
        return f"{name}: can't tell at this budget ({judgement.reason}){needed}."
    match judgement.verdict:
        case Verdict.HELPS | Verdict.HURTS:
            small = f", by less than the {mde} that matters" if judgement.is_small else ""
            return f"{name} {judgement.verdict.label}{small}: {amount} ({inside})."
        case Verdict.NO_DIFFERENCE:
            return f"{name} makes no difference larger than {mde} {metric}: {amount} ({inside})."
        case _:
            return f"{name}: can't tell at this budget: {amount} ({inside}){needed}."


def sentences(study: StudyRecord, results: Results) -> list[str]:
    """One sentence per variant, one per comparison with a capacity control, and one if val is trained on."""
    lines = [sentence(name, one, study, results.power) + _caution(one) for name, one in results.judgements.items()]
    lines += [_beyond(name, one, study) + _caution(one, "control") for name, one in results.beyond.items()]
    overlap = study.provenance.get("data", {}).get("overlap", ())
    return [*lines, *(f"Caution: {line}." for line in overlap)]


def headline(study: StudyRecord, results: Results) -> str:
    """Summarise the study in a line: which variants help, hurt, do neither, or are undecided."""
    by_verdict = {v: [n for n, j in results.judgements.items() if j.verdict is v] for v in Verdict}
    parts = []
    for verdict, is_small in itertools.product((Verdict.HELPS, Verdict.HURTS), (False, True)):
        names = [name for name in by_verdict[verdict] if results.judgements[name].is_small == is_small]
        small = f", by less than the {study.mde:g} that matters" if is_small else ""
        if names:
            parts.append(f"{_listed(names)} {verdict.label[:-1] if len(names) > 1 else verdict.label}{small}")
    if names := by_verdict[Verdict.NO_DIFFERENCE]:
        verb = "make" if len(names) > 1 else "makes"
        parts.append(f"{_listed(names)} {verb} no difference larger than {study.mde:g} {metric_name(study.metric)}")
    if names := by_verdict[Verdict.CANT_TELL]:
        parts.append(f"can't tell for {_listed(names)}")
    text = "; ".join(parts) or "There is no variant to judge"
    text = text.replace("can't", "Can't", 1) if text.startswith("can't tell") else text
    return text + "." + next(filter(None, map(_caution, results.judgements.values())), "")


def _caution(judgement: Judgement, other: str = "base") -> str:
    """What follows a claim over a model that learned next to nothing."""
    is_claim = judgement.verdict in (Verdict.HELPS, Verdict.HURTS)
    return f" But the {other} learned next to nothing ({judgement.untaught})." * bool(judgement.untaught and is_claim)


def _beyond(name: str, judgement: Judgement, study: StudyRecord) -> str:
    mean, ends = mean_and_interval(judgement.mean, judgement.interval)
    amount = f"{mean} {metric_name(study.metric)}, {ends}"
    small = f", by less than the {study.mde:g} that matters" if judgement.is_small else ""
    match judgement.verdict:
        case Verdict.HELPS:
            return f"{name} is better than plain convolutions of about equal capacity{small} ({amount})."
        case Verdict.HURTS:
            return f"{name} is worse than plain convolutions of about equal capacity{small} ({amount})."
        case Verdict.NO_DIFFERENCE:
            words = f"differs by less than {study.mde:g} from"
            return f"{name} {words} plain convolutions of about equal capacity ({amount})."
        case _:
            why = judgement.reason or amount
            return f"{name} against plain convolutions of about equal capacity: can't tell ({why})."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


STYLES: Mapping[str, str] = {"waiting": "dim", "running": "cyan", "finished": "", "failed": "red"}
VIEWS_PER_SECOND = 1


@contextmanager
def progress(folder: Path, console: Console, metric: str) -> Iterator[Callable[[Path], None]]:
    """Show a live table in a terminal, which disappears at the end; elsewhere print a line for each run that ends."""
    if console.is_terminal:

        def table() -> PlainTable:
            return study_table(read_study(folder), epochs_of(folder))

        with Live(get_renderable=table, console=console, refresh_per_second=VIEWS_PER_SECOND, transient=True):
            yield lambda _: None
        return

    def show(run: Path) -> None:
        if (run / FAILURE).is_file():
            outcome = f"failed: {read_json(run / FAILURE)['error']}"
        else:
            outcome = f"{metric_name(metric)} {numbers(read_json(run / RESULT)['metrics'])[metric]:.3f}"
        print_lines(console, [f"{run.parent.name} {run.name}: {outcome}"], wrap=False)

    yield show


def print_lines(console: Console, lines: list[str], *, wrap: bool = True, style: str | None = None) -> None:
    """Print text as it is, without markup or highlighting."""
    for line in lines:
        console.print(translate(line), markup=False, highlight=False, soft_wrap=not wrap, style=style)


def print_verdict(study: StudyRecord, console: Console) -> None:
    """Print one sentence per result, the number of seeds still needed, and the path of the report."""
    results = analyse(study)
    lines = sentences(study, results)
    if any(judgement.verdict is Verdict.CANT_TELL for judgement in results.judgements.values()):
        lines.append(needed_line(study, results.power))
    print_lines(console, lines)
    print_lines(console, [f"report: {study.folder / PAGE}"], wrap=False)


def verdicts(study: StudyRecord) -> Group:
    """Show a study: the headline, a table of all comparisons, and a sentence for each."""
    results = analyse(study)
    level = f"{percent(1 - study.alpha)} interval"
    table = PlainTable("variant", "compared with", metric_name(study.metric), level, "seeds", "p (Holm)", "verdict")
    for against, judged in ((study.base.name, results.judgements), ("capacity control", results.beyond)):
        for name, one in judged.items():
            verdict = f"{MARKS[one.verdict]} {one.reason or verdict_label(one, study.mde)}"
            p = "–" if math.isnan(one.p) else p_value(one.p)
            table.add_row(name, against, *mean_and_interval(one.mean, one.interval), str(len(one.seeds)), p, verdict)
    return Group(headline(study, results), table, *sentences(study, results))


def epochs_of(folder: Path) -> dict[str, int]:
    """Planned epochs of every variant."""
    return {entry["name"]: entry["epochs"] for entry in StudyFolder(folder).read()["variants"]}


def study_table(study: StudyRecord, epochs: Mapping[str, int]) -> PlainTable:
    """Tabulate all runs: epoch, metric so far and time left while they run, the metric when they have ended."""
    title, caption = translate(f"{metric_name(study.metric)} on val"), translate(_caption(study, epochs))
    table = PlainTable(title=title, caption=caption, caption_justify="left")
    table.add_column(translate("variant"))
    for seed in study.seeds:
        table.add_column(translate(f"seed {seed}"), justify="right")
    table.add_column(translate("mean"), justify="right")
    for variant in study.variants:
        runs = {run.seed: run for run in study.runs if run.variant == variant.name}
        cells = [_cell(runs[seed], study.metric, epochs[variant.name]) for seed in study.seeds]
        ended = [run.metrics[study.metric] for run in runs.values() if run.status == "finished"]
        table.add_row(variant.name, *cells, _number(mean(ended)) if ended else "")
    return table


def metric_so_far(run: RunRecord, metric: str) -> float | None:
    """Metric of a finished run, else of its last evaluation on val; None if there is no number."""
    values = (
        [run.metrics.get(metric, math.nan)]
        if run.metrics
        else [row.get(f"val/{metric}", math.nan) for row in run.curve]
    )
    known = [value for value in values if math.isfinite(value)]
    return known[-1] if known else None


def _cell(run: RunRecord, metric: str, epochs: int) -> Text:
    style = STYLES[run.status]
    if run.status == "finished":
        return Text(_number(run.metrics[metric]), style)
    if run.status == "failed":
        return Text(translate("failed"), style)
    if not run.curve:
        return Text(translate("starting") if run.status == "running" else "-", style)
    measured = metric_so_far(run, metric)
    parts = [f"{len(run.curve)}/{epochs}", "" if measured is None else _number(measured)]
    if run.status == "running":
        parts.append(translate(duration((epochs - len(run.curve)) * _epoch_seconds(run))))
    return Text(" ".join(part for part in parts if part), style)


def _caption(study: StudyRecord, epochs: Mapping[str, int]) -> str:
    counts = Counter(run.status for run in study.runs)
    caption = f"{counts['finished']} of {len(study.runs)} runs finished"
    caption += "".join(f", {counts[status]} {status}" for status in ("running", "failed") if counts[status])
    left = seconds_left(study, epochs)
    return caption + (f"; about {duration(left)} left" if left and counts["running"] else "")


def seconds_left(study: StudyRecord, epochs: Mapping[str, int]) -> float | None:
    """Estimate how long the remaining runs take at the pace so far; None before there is any."""
    known = [_epoch_seconds(run) for run in study.runs if run.curve]
    if not known:
        return None
    own = {v.name: [_epoch_seconds(r) for r in study.runs if r.variant == v.name and r.curve] for v in study.variants}
    left = sum(
        (epochs[run.variant] - len(run.curve)) * mean(own[run.variant] or known)
        for run in study.runs
        if run.status in ("waiting", "running")
    )
    return left / max(sum(run.status == "running" for run in study.runs), 1)


def _epoch_seconds(run: RunRecord) -> float:
    return mean(row.get("train_seconds", 0.0) + row.get("val_seconds", 0.0) for row in run.curve)


def duration(seconds: float) -> str:
    """Format a time: ``45 s``, ``12 min``, ``3 h 05 min``.

    Example:
        >>> duration(3700)
        '1 h 02 min'
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
