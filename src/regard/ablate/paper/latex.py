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
% {font}
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
PDF_TEX = r"""\usepackage{iftex}
\ifPDFTeX \usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}\usepackage{textcomp}\else \usepackage{fontspec}\fi"""
CHINESE = r"""\usepackage{fontspec,xeCJK}
\setCJKmainfont{Noto Serif CJK TC}
\renewcommand{\tablename}{表}\renewcommand{\figurename}{圖}"""
CJK = r"\IfFontExistsTF{Noto Serif CJK TC}{\usepackage{xeCJK}\setCJKmainfont{Noto Serif CJK TC}}{}"
OTHER = (
    r"\IfFontExistsTF{CMU Serif}{\setmainfont{CMU Serif}}{\IfFontExistsTF{DejaVu Serif}{\setmainfont{DejaVu Serif}}{}}"
)
LOUD = r"\tracinglostchars=3 % a letter that the font lacks is an error, not left out"
FONT = "A letter that the font lacks is an error: choose another by \\setmainfont or \\setCJKmainfont."
LAST_LATIN = 0x24F
"""The last letter of Latin Extended-B; those after it and before `FIRST_CJK` but punctuation need another font."""
FIRST_CJK = 0x2E80


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


def _fonts(language: str, text: str) -> tuple[str, str]:
    """Engines that can compile a text, and the preamble that chooses fonts for its letters."""
    letters = {ord(letter) for letter in text if letter.isalpha() and ord(letter) > LAST_LATIN}
    has_cjk, has_other = max(letters, default=0) >= FIRST_CJK, min(letters, default=FIRST_CJK) < FIRST_CJK
    if language != "en":
        lines = [CHINESE, *[OTHER] * has_other, LOUD]
        return "xelatex (font: Noto Serif CJK TC)", "\n".join(lines)
    if not letters:
        return "pdflatex or xelatex", f"{PDF_TEX}\n{LOUD}"
    lines = [r"\usepackage{fontspec}", *[OTHER] * has_other, *[CJK] * has_cjk, LOUD]
    needed = " and ".join([*["CMU Serif or DejaVu Serif"] * has_other, *["Noto Serif CJK TC"] * has_cjk])
    return f"xelatex (font: {needed}), as names have letters that pdflatex lacks", "\n".join(lines)


def document(language: str, title: str, files: Sequence[str], caption: str, parts: str) -> str:
    """Write a document that includes the parts.

    Args:
        language: "en" or "zh-TW".
        title: question of the study.
        files: names of tables and of the figure.
        caption: of the figure.
        parts: text of the parts, for whose letters fonts are chosen.
    """
    body = [rf"\input{{text.{language}.tex}}"]
    for name in files:
        if name.endswith(".tex"):
            body.append(rf"\input{{{name}}}")
        else:
            figure = rf"\includegraphics[width=\linewidth]{{{name}}}"
            text = rf"\caption{{{escape(caption)}}}\label{{fig:forest}}"
            body.append(rf"\begin{{figure}}[htbp]\centering {figure}{text}\end{{figure}}")
    engine, fonts = _fonts(language, title + caption + parts)
    return TEMPLATE.format(engine=engine, font=FONT, fonts=fonts, title=escape(title), body="\n".join(body))
