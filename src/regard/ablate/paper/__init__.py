"""Parts of a paper from a study: tables in LaTeX, the forest plot as PDF, and paragraphs in two languages.

Every statement is derived from the verdicts and from what the study records; what it does not record is not stated.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from regard.ablate.folder import StudyRecord, read_study
from regard.ablate.format import which_improves
from regard.ablate.paper import chinese, english
from regard.ablate.paper.facts import Facts, facts_of
from regard.ablate.paper.latex import document, paragraph
from regard.ablate.paper.published import with_results
from regard.ablate.paper.tables import cost_table, shown_name, verdict_table
from regard.ablate.report import forest_rows
from regard.ablate.report.forest_plot import Words, forest_pdf
from regard.ablate.schema import metric_name
from regard.ablate.verdict import Results, analyse
from regard.system.files import claim_folder
from regard.system.outputs import Outputs
from regard.system.translation import translate_into

LANGUAGES = {"en": english, "zh-TW": chinese}


def write_paper(study: str | Path, folder: str | Path) -> list[Path]:
    """Write tables, forest plot and paragraphs of a study, finished or not.

    Args:
        study: folder of the study; where it was published without its runs, its ``results.csv`` is read.
        folder: where to write; files of an earlier call are replaced unless they were changed since.

    Returns:
        The files: ``verdicts.tex`` and ``costs.tex`` (tables), ``forest.pdf``, ``text.en.tex`` (results, methods and
        limitations) and ``paper.en.tex``, which includes the others; the same with ``.zh-TW`` before the suffix, but
        ``forest.zh-TW.pdf`` only where a font of this machine has its letters.

    Raises:
        RegardError: there is no study, none of its runs has finished, it is damaged, or the folder cannot be written
            to or has other files of these names.
    """
    record = with_results(read_study(study))
    with claim_folder(folder) as place:
        files = {place / name: content for name, content in parts(record).items()}
        outputs = Outputs(place)
        for file in files:
            outputs.check(file)
        for file, content in files.items():
            outputs.write(file, content)
    return list(files)


def parts(study: StudyRecord) -> dict[str, bytes]:
    """Compose all files by name."""
    results = analyse(study)
    facts = facts_of(study, results)
    drawn, files = _figure(study, results, str), dict[str, bytes]()
    figure = {"forest.pdf": drawn} if drawn else {}
    for language, words in LANGUAGES.items():
        ending, how = ".tex" if language == "en" else f".{language}.tex", partial(translate_into, language=language)
        if language != "en" and drawn and (own := _figure(study, results, how, boxes=False)):
            figure = {f"forest.{language}.pdf": own}
        shown = {f"verdicts{ending}": verdict_table(study, results, how, words.BETWEEN).encode(), **figure}
        if study.costs:
            shown[f"costs{ending}"] = cost_table(study, how, words.BETWEEN).encode()
        files |= shown
        files[f"text.{language}.tex"] = _text(facts, language).encode()
        included = "".join(files[name].decode() for name in (*shown, f"text.{language}.tex") if name.endswith(".tex"))
        paper = document(language, how(_title(study, words.AND)), tuple(shown), words.CAPTION, included)
        files[f"paper.{language}.tex"] = paper.encode()
    return files


def _figure(study: StudyRecord, results: Results, words: Words, *, boxes: bool = True) -> bytes:
    """The forest plot; nothing without a comparison, or, unless boxes may be drawn, where no font has its letters."""
    rows = [replace(row, name=shown_name(study, row.name, words)) for row in forest_rows(study, results, words)]
    axis = words(f"difference in {metric_name(study.metric)} from the base")
    return forest_pdf(rows, study.mde, axis, words, boxes=boxes) if rows else b""


def _title(study: StudyRecord, comma: str) -> str:
    """The question; where regard wrote it, its names are separated as in the language of the document."""
    names = [variant.name for variant in study.variants[1:]]
    is_own = study.question == which_improves(names, study.metric)
    return which_improves(names, study.metric, comma) if is_own else study.question


def _text(facts: Facts, language: str) -> str:
    words = LANGUAGES[language]
    sections = (words.results(facts), words.methods(facts), words.limitations(facts))
    blocks = [paragraph(title, lines, words.BETWEEN) for title, lines in zip(words.TITLES, sections, strict=True)]
    return "\n".join(blocks)
