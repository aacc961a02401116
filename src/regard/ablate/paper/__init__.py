"""Parts of a paper from a study: tables in LaTeX, the forest plot as PDF, and paragraphs in two languages.

Every statement is derived from the verdicts and from what the study records; what it does not record is not stated.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from regard.ablate.folder import StudyRecord, read_study
from regard.ablate.paper import chinese, english
from regard.ablate.paper.facts import Facts, facts_of
from regard.ablate.paper.latex import document, paragraph
from regard.ablate.paper.published import with_results
from regard.ablate.paper.tables import cost_table, verdict_table
from regard.ablate.report import forest_rows
from regard.ablate.report.figures import forest_pdf
from regard.ablate.schema import metric_name
from regard.ablate.verdict import analyse
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
        limitations) and ``paper.en.tex``, which includes the others; the same as ``.zh-TW.tex``, but for the figure.

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
    rows = forest_rows(study, results)
    figure: dict[str, bytes] = {}
    if rows:
        figure["forest.pdf"] = forest_pdf(rows, study.mde, f"difference in {metric_name(study.metric)} from the base")
    files: dict[str, bytes] = {}
    for language, words in LANGUAGES.items():
        ending, how = ".tex" if language == "en" else f".{language}.tex", partial(translate_into, language=language)
        shown = {f"verdicts{ending}": verdict_table(study, results, how, words.BETWEEN).encode(), **figure}
        if study.costs:
            shown[f"costs{ending}"] = cost_table(study, how, words.BETWEEN).encode()
        files |= shown
        files[f"text.{language}.tex"] = _text(facts, language).encode()
        included = "".join(files[name].decode() for name in (*shown, f"text.{language}.tex") if name.endswith(".tex"))
        paper = document(language, how(study.question), tuple(shown), words.CAPTION, included)
        files[f"paper.{language}.tex"] = paper.encode()
    return files


def _text(facts: Facts, language: str) -> str:
    words = LANGUAGES[language]
    sections = (words.results(facts), words.methods(facts), words.limitations(facts))
    blocks = [paragraph(title, lines, words.BETWEEN) for title, lines in zip(words.TITLES, sections, strict=True)]
    return "\n".join(blocks)
