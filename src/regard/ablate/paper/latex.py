"""LaTeX: escaped text, tables by booktabs, and documents that include the parts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from regard.system.terminal import printable

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "−": r"$-$",
    "–": r"--",
    "±": r"$\pm$",
    "×": r"$\times$",
    "…": r"\ldots{}",
}
"""Characters that mean something in LaTeX, or that its standard fonts lack."""

TEMPLATE = r"""% Written by regard paper. Compile with {engine}.
\documentclass{{article}}
\usepackage[a4paper,margin=25mm]{{geometry}}
\usepackage{{booktabs,graphicx}}
{fonts}
\title{{{title}}}
\author{{}}
\date{{}}
\begin{{document}}
\maketitle
{body}
\end{{document}}
"""
FONTS = {
    "en": r"\usepackage{iftex}"
    "\n"
    r"\ifPDFTeX \usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}\usepackage{textcomp}\else \usepackage{fontspec}\fi",
    "zh-TW": r"\usepackage{fontspec,xeCJK}"
    "\n"
    r"\setCJKmainfont{Noto Serif CJK TC}"
    "\n"
    r"\renewcommand{\tablename}{表}\renewcommand{\figurename}{圖}",
}
ENGINES = {
    "en": "pdflatex, or with xelatex where names have other letters",
    "zh-TW": "xelatex (font: Noto Serif CJK TC)",
}


def escape(text: str) -> str:
    """Escape text, so that no character of it is a command and none begins a new paragraph.

    Example:
        >>> escape("SE_50% & <b>")
        'SE\\\\_50\\\\% \\\\& \\\\textless{}b\\\\textgreater{}'
    """
    line = " ".join(printable(text).split())
    return re.sub("|".join(map(re.escape, SPECIAL)), lambda found: SPECIAL[found[0]], line)


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, label: str, text_columns: int = 1
) -> str:
    """Write a floating table with booktabs rules; cells are text and are escaped.

    Args:
        headings: one per column.
        rows: cells, as many as headings.
        caption: what it shows.
        label: for references, without special characters.
        text_columns: number of first columns that are aligned left; the others are aligned right.
    """
    columns = "l" * text_columns + "r" * (len(headings) - text_columns)
    lines = [" & ".join(map(escape, cells)) + r" \\" for cells in (headings, *rows)]
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            r"\footnotesize",
            r"\setlength{\belowcaptionskip}{4pt}",
            rf"\caption{{{escape(caption)}}}",
            rf"\label{{{label}}}",
            r"\setlength{\tabcolsep}{4pt}",
            rf"\resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def paragraph(title: str, sentences: Sequence[str], between: str) -> str:
    """Write sentences as one paragraph with a title."""
    return rf"\paragraph{{{escape(title)}}} {between.join(map(escape, sentences))}" + "\n"


def document(language: str, title: str, files: Sequence[str], caption: str) -> str:
    """Write a document that includes the parts.

    Args:
        language: "en" or "zh-TW".
        title: question of the study.
        files: names of tables and of the figure.
        caption: of the figure.
    """
    body = [rf"\input{{text.{language}.tex}}"]
    for name in files:
        if name.endswith(".tex"):
            body.append(rf"\input{{{name}}}")
        else:
            figure = rf"\includegraphics[width=\linewidth]{{{name}}}"
            text = rf"\caption{{{escape(caption)}}}\label{{fig:forest}}"
            body.append(rf"\begin{{figure}}[htbp]\centering {figure}{text}\end{{figure}}")
    return TEMPLATE.format(engine=ENGINES[language], fonts=FONTS[language], title=escape(title), body="\n".join(body))
