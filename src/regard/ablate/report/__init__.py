"""The report of a study: a page that needs no other file, Markdown with its figures, and a table of all runs.

Its first sections are composed here: the verdicts, how certain they are, and the rule behind them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regard.ablate.digits import counted, interval, mean_and_interval, p_value, percent, plain
from regard.ablate.folder import PAGE, StudyRecord
from regard.ablate.format import (
    MARKS,
    headline,
    sentences,
    verdict_label,
)
from regard.ablate.plan import split_name
from regard.ablate.report.document import (
    Block,
    Cell,
    Document,
    Image,
    Images,
    Plots,
    Section,
    Table,
    Text,
    Tone,
    figure_files,
    to_html,
    to_markdown,
)
from regard.ablate.report.forest_plot import ForestRow, Words, forest
from regard.ablate.report.images import changed_section
from regard.ablate.report.power import power_section
from regard.ablate.report.tables import (
    breakdown_section,
    cost_section,
    curve_section,
    gate_section,
    provenance_section,
    run_section,
    split_section,
    to_csv,
)
from regard.ablate.schema import metric_name
from regard.ablate.trainable import Missing
from regard.ablate.verdict import Judgement, Results, Verdict, analyse
from regard.data.dataset import Sample
from regard.system.files import make_folder, write_file

FAILED = "These steps failed, each by itself. The verdict does not depend on them."
ATTENTION = "What the variants attend to. A map shows a layer's attention weights, not why the detector decides."


@dataclass(frozen=True)
class Extras:
    """What a report shows in addition to the record, if it is available.

    Attributes:
        samples: the val images; without them no image that changed is shown.
        names: class names.
        intervals: image bootstrap interval of each variant's difference.
        attention: attention maps, each a title and a PNG file.
        missing: what could not be measured or drawn, and why.
    """

    samples: Sequence[Sample] = ()
    names: Sequence[str] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    attention: Sequence[tuple[str, bytes]] = ()
    missing: Sequence[str] = ()


def write_report(study: StudyRecord, extras: Extras | None = None) -> Path:
    """Write ``report.html``, ``report.md`` with its figures, and ``results.csv`` into the study's folder.

    Args:
        study: finished or not; the report covers the finished runs.
        extras: what it shows in addition.

    Returns:
        The path of ``report.html``.

    Raises:
        RegardError: the folder cannot be written to.
    """
    document = build(study, extras or Extras())
    make_folder(study.folder)
    files = {"results.csv": to_csv(study), **figure_files(document)}
    files |= {"report.md": to_markdown(document), PAGE: to_html(document)}
    for name, text in files.items():
        write_file(study.folder / name, text)
    return study.folder / PAGE


def build(study: StudyRecord, extras: Extras) -> Document:
    """Compose the report, before it becomes a page or Markdown."""
    results, missing, sections = analyse(study), Missing(extras.missing), []
    if extras.samples:
        with missing.unless_done("images that changed most"):
            sections.append(changed_section(study, extras.samples, extras.names))
    if extras.attention:
        sections.append(
            Section(
                "Attention maps",
                [Text(ATTENTION), *(Images(title, [Image(title, data)]) for title, data in extras.attention)],
            )
        )
    gates, lacking = gate_section(study), [Text(line, "quiet") for line in missing.lines]
    return Document(
        title=study.question,
        summary=headline(study, results),
        details=_details(study, results),
        sections=[
            verdict_section(study, results, extras.intervals),
            *([Section("Missing from this report", [Text(FAILED), *lacking])] if lacking else []),
            power_section(study, results),
            cost_section(study),
            curve_section(study),
            breakdown_section(study),
            *sections,
            *([gates] if gates else []),
            split_section(study),
            run_section(study),
            method_section(study),
            provenance_section(study),
        ],
    )


def _details(study: StudyRecord, results: Results) -> list[str]:
    """Short facts under the summary; the level of the base, without which a difference means little, is one."""
    known = study.measured(study.base.name)
    seeds, variants = len(study.seeds), len(results.judgements)
    edits = map(split_name, [*study.plan.get("insert", ()), *study.plan.get("replace", ())])
    details = {
        f"decided on {metric_name(study.metric)} on val": True,
        "of each run's best epoch, chosen on val itself": study.plan.get("epoch") == "best",
        f"the base reaches {plain(sum(known) / max(len(known), 1), 3)}": bool(known),
        counted(seeds, "seed"): True,
        counted(variants, "variant"): True,
        f"{sum(run.status == 'finished' for run in study.runs)} of {len(study.runs)} runs finished": True,
        f"level {percent(study.alpha)} over all variants": True,
        f"smallest difference that matters {study.mde:g}": True,
    }
    return [*(text for text, applies in details.items() if applies), *(f"{n}: {e}" for n, e in edits if n)]


TONES: Mapping[Verdict, Tone] = {
    Verdict.HELPS: "helps",
    Verdict.HURTS: "hurts",
    Verdict.NO_DIFFERENCE: "same",
    Verdict.CANT_TELL: "unknown",
}
ERROR_LETTERS = 40
"""Letters of an error in a row of the table; all of it is shown with the runs."""
Intervals = Mapping[str, tuple[float, float]]
"""Image bootstrap interval of each variant's difference."""


def verdict_section(study: StudyRecord, results: Results, intervals: Intervals) -> Section:
    """The verdicts in sentences, as a forest plot and as a table."""
    blocks: list[Block] = [Text(line, "finding") for line in sentences(study, results)]
    rows = forest_rows(study, results)
    if rows:
        axis = f"difference in {metric_name(study.metric)} from the base"
        wide, narrow = (forest(rows, study.mde, axis, wide=is_wide) for is_wide in (True, False))
        blocks.append(Plots("forest", [wide], _reading(study), narrow))
        blocks.append(_table(study, results, intervals))
    if results.beyond:
        blocks.append(_beyond_table(study, results))
    missing = _missing(study, results)
    return Section("Verdict", [*blocks, *([Text(missing, "quiet")] if missing else [])])


def method_section(study: StudyRecord) -> Section:
    """The rule that led to the verdicts."""
    level, alpha, mde = percent(1 - study.alpha), percent(study.alpha), f"{study.mde:g} {metric_name(study.metric)}"
    lines = [
        "Both runs of a pair share one seed, and so the order of the data, the augmentation, the initial values of "
        "all tensors that both have, and the budget. The difference within pairs is judged, on val.",
        f'Helps or hurts: a two-sided paired t-test over seeds rejects "no difference" at {alpha} after Holm\'s '
        "correction over the variants. Otherwise, no difference larger than the smallest that matters: two one-sided "
        f"tests, corrected in the same way, reject a difference of {mde} or more at {alpha}. Otherwise: can't tell. "
        f"Over all variants together, a false helps or hurts has a probability of at most {alpha}, and so has a "
        "false no difference.",
        f"The {level} interval of a row covers the true difference of that variant with that probability; the wider "
        "joint one (Bonferroni) covers those of all variants at once. Holm's correction is a little sharper than the "
        "joint intervals, so a variant may be called although its joint interval reaches zero.",
        "The interval over images keeps the trained detectors and resamples the val images, the same for both of a "
        "pair. It shows how far the result depends on these images, and nothing about another seed.",
        "Capacity and noise controls are shown and not judged. Pairs with a failed run are left out; if runs "
        "fail for a reason related to their quality, the rest is not a fair sample.",
    ]
    if study.plan.get("epoch") == "best":
        lines.insert(
            1,
            "Each run is represented by its best epoch, which was chosen on val, the split that decides: every value "
            "is somewhat too high, and the more so the more the curve of a variant fluctuates.",
        )
    return Section("Method", [Text(line) for line in lines])


def forest_rows(study: StudyRecord, results: Results, words: Words = str) -> list[ForestRow]:
    """Rows of the forest plot: every variant with its verdict, and every control; ``words`` translates the notes."""
    rows = []
    for variant in study.variants[1:]:
        if judged := results.judgements.get(variant.name):
            note = f"{MARKS[judged.verdict]} {words(verdict_label(judged, study.mde))}"
            rows.append(ForestRow(variant.name, note, judged, TONES[judged.verdict]))
        elif control := results.controls.get(variant.name):
            note = "base again, other data order" if variant.role == "noise control" else variant.role
            rows.append(ForestRow(variant.name, words(note), control, "quiet"))
    return rows


def _reading(study: StudyRecord) -> str:
    level = percent(1 - study.alpha)
    return (
        f"Differences in {metric_name(study.metric)} from the base on val. Diamond: mean over paired seeds; rings: the "
        f"seeds. Thick line: {level} paired-t interval of this row; thin line: the joint interval of all "
        f"variants; an arrow: it continues. Shaded: less than the {study.mde:g} that matters. Controls are "
        "not judged."
    )


def _table(study: StudyRecord, results: Results, intervals: Intervals) -> Table:
    level = percent(1 - study.alpha)
    headings = ["variant", "verdict", "difference", f"{level} interval", "jointly", "p (Holm)", "p equivalent", "seeds"]
    rows: list[list[str]] = []
    for name, found in results.judgements.items():
        words = f"{MARKS[found.verdict]} {verdict_label(found, study.mde)}{_failures(study, name)}"
        word = Cell(words, TONES[found.verdict])
        numbers = [*mean_and_interval(found.mean, found.interval), interval(found.joint)]
        tests = ["–", "–"] if found.reason else [p_value(found.p), p_value(found.p_equivalence)]
        rows.append([name, word, *numbers, *tests, str(len(found.seeds))])
    for name, found in results.controls.items():
        numbers = [*mean_and_interval(found.mean, found.interval), ""]
        p = "" if found.reason else f"{p_value(found.p_alone)} alone"
        word = Cell(f"control{_failures(study, name)}", "quiet")
        rows.append([name, word, *numbers, p, "", str(len(found.seeds))])
    if intervals:
        headings.append("over images")
        rows = [[*row, interval(intervals.get(str(row[0]), (math.nan, math.nan)))] for row in rows]
    caption = f"Difference in {metric_name(study.metric)} from the base, paired by seed"
    return Table(caption, headings, rows, frozenset({1}))


def _failures(study: StudyRecord, name: str) -> str:
    errors = [run.error or "unknown" for run in study.runs if run.variant == name and run.status == "failed"]
    if not errors:
        return ""
    first = " ".join(errors[0].split())
    short = first if len(first) <= ERROR_LETTERS else f"{first[: ERROR_LETTERS - 1]}…"
    return f" ({len(errors)} failed: {short})"


def _beyond_table(study: StudyRecord, results: Results) -> Table:
    caption = "Against plain convolutions of about equal capacity at the same place, corrected among themselves (Holm)"
    headings = ["variant", "minus its control", f"{percent(1 - study.alpha)} interval", "p (Holm)", "seeds"]
    rows = [
        [name, *mean_and_interval(j.mean, j.interval), "–" if j.reason else p_value(j.p), str(len(j.seeds))]
        for name, j in results.beyond.items()
    ]
    return Table(caption, headings, rows)


def _missing(study: StudyRecord, results: Results) -> str:
    def short(judgement: Judgement) -> bool:
        return len(judgement.seeds) < len(study.seeds)

    names = [name for name, j in {**results.judgements, **results.controls}.items() if short(j)]
    return f"Without all {len(study.seeds)} pairs, so far or finally: {', '.join(names)}." if names else ""
