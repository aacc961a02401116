"""The texts that the page shows: in its language, with its own controls for options of the command line, and its paths.

The API's messages name options of the command line and arguments in Python; on the page one needs the names of its
fields and buttons (`studio/src/english.ts` and `chinese.ts`). Paths are those in the workspace, which are what the page
opens and saves; where the workspace lies on the machine is shown nowhere.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Request
from starlette.responses import JSONResponse

from regard.ablate.plan import Plan
from regard.config import TrainSettings
from regard.config.base import fields_of
from regard.config.form import flags_of
from regard.system.translation import translate_into

CONTROLS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (
        (r"by -a \(in Python: options=\)", 'in the form, under "Options"'),
        (r"with --ungated \(ungated=True\)", 'with "Leave out gates" ticked'),
        (r"use the native form", 'save it as "YAML with names"'),
        (r"write it in the native form \(--to native\)", 'save it as "YAML with names"'),
        (r"write it with --yolov5 \(convert: --to yolov5\), or in the native form", 'save it as "YAML with names"'),
        (r"give (--to ultralytics, or )?--to native", 'save it as "YAML with names"'),
        (r" with gate: false \(--no-gate; in Python: gate=False\)", ' with "Behind a gate" not ticked'),
        (r"(, )?or insert(ed)?( it)? with --no-gate", ', or insert it with "Behind a gate" not ticked'),
        (r"give weights as a separate option: --weights FILE", 'load weights by "Load weights"'),
        (r"and this file as --weights", 'and this file by "Load weights"'),
        (r"\(--kind gradient", '("Show": "Gradient map"'),
        (r"\n? *\(--allow-miswired[^()]*\)", ""),
        (r"--module ([^\s,;:()]+:\w+)", r"--module \1, when the studio is started"),
        (r"\bby --module(?! [^\s(]*:)", "by --module, when the studio is started"),
        (r" ?\(in Python:? (?:[^()]|\([^()]*\))*\)|[;,] in Python:? [^()]*?(?=\))", ""),
    ),
    "zh": (
        (r"用 -a 給它的選項（Python 中：options=）", "在表單的「選項」中設定"),
        (r"用 --ungated（ungated=True）寫出沒有閘的網路", "勾選「略去閘」，寫出沒有閘的網路"),
        (r"或用原生格式", "或存成「具名 YAML」"),
        (r"以原生格式寫出（--to native）", "存成「具名 YAML」"),
        (r"用 --yolov5 寫出（convert：--to yolov5），", ""),
        (r"給 (--to ultralytics 或 )?--to native", "存成「具名 YAML」"),
        (r"以 gate: false 插入（--no-gate；Python 中：gate=False）", "插入時不勾選「放在閘之後」"),
        (r"用 --no-gate 插入", "插入時不勾選「放在閘之後」"),
        (r"把權重作為另一個選項：--weights FILE", "用「載入權重」載入權重"),
        (r"並把這個檔案作為 --weights", "並用「載入權重」載入這個檔案"),
        (r"（--kind gradient", "（「顯示」：「梯度圖」"),
        (r"\n? *（--allow-miswired[^（）]*）", ""),
        (r"--module ([^\s，；：（）]+:\w+)", r"--module \1（啟動工作室時）"),
        (r"用 --module 指定(?! \S*:)", "在啟動工作室時用 --module 指定"),
        (r" ?（Python 中(?:[^（）]|（[^（）]*）)*）|[；，]Python 中[^（）]*?(?=）)", ""),
    ),
}
"""What the page has for what messages name, by language: patterns and what replaces them, one after another."""

TITLES = (
    (r"mean of (\d+) heads", r"\1 個頭的平均"),
    (r"head (\d+)(, .*)?", r"頭 \1\2"),
    (r"channel (\d+)", r"通道 \1"),
    (r"mean \|x\|", "|x| 的平均"),
    (r"mean over channels", "各通道的平均"),
    (r"weight of each position", "各位置的權重"),
    (r"weights of the query", "查詢的權重"),
    (r"\|gradient x activation\|", "|梯度 x 啟動值|"),
    (r"(\S+): feature maps", r"\1：特徵圖"),
    (r"(\d+) or more", r"\1 個以上"),
)
"""Headings of maps and bars in 繁體中文, which only the page shows: patterns of a whole one, and what replaces it."""


def titled(title: str, words: Callable[[str], str]) -> str:
    """Translate a title of a map or a bar into the language of ``words``."""
    if words("yes") == "yes":
        return title
    found = ((re.fullmatch(pattern, title), text) for pattern, text in TITLES)
    return next((match.expand(text) for match, text in found if match), words(title))


def words_of(request: Request) -> Callable[[str], str]:
    """What translates texts into the language that a request prefers, with the controls of the page."""
    preferred = request.headers.get("accept-language", "").lower()
    return partial(worded, language="zh" if preferred.startswith("zh") else "en")


def worded(text: str, language: str) -> str:
    """Translate a text of the API into ``en`` or ``zh``, and name the controls of the page in it.

    Example:
        >>> worded("a smaller --imgsz or --batch (in Python: imgsz=, batch=)", "en")
        'a smaller imgsz or batch'
    """
    text = translate_into(text, "zh-TW" if language == "zh" else "en")
    if "-" not in text and "Python" not in text:
        return text
    for pattern, control in CONTROLS[language]:
        text = re.sub(pattern, control, text)
    return re.sub(r"--[a-z][a-z-]+", lambda flag: _fields().get(flag[0], flag[0]), text)


@cache
def _fields() -> Mapping[str, str]:
    """Fields of the forms by the option that they stand for."""
    kinds = (TrainSettings, Plan)
    return {
        flag.partition("/")[0]: name
        for kind in kinds
        for name, field in fields_of(kind).items()
        for flag in flags_of(name, field)
        if name not in ("module", "weights")
    }


Words: TypeAlias = Annotated[Callable[[str], str], Depends(words_of)]


def relative_texts(workspace: Path) -> Callable[[Any], Any]:
    """What makes paths in the workspace relative to it, in all texts of a value for JSON."""
    roots = {str(workspace.resolve()), str(workspace.absolute())} - {workspace.anchor}
    named = "|".join(re.escape(root) for root in sorted(roots, key=len, reverse=True))
    inside = re.compile(rf"(?<![\w.:/\\-])(?:{named})(?:[/\\]+|(?![\w.-]))") if roots else None

    def relative(value: Any) -> Any:
        if isinstance(value, str):
            if inside is None or not any(root in value for root in roots):
                return value
            return inside.sub(lambda found: "" if found[0].endswith(("/", os.sep)) else ".", value)
        if isinstance(value, float) and not math.isfinite(value):
            return None  # JSON has no such numbers
        if isinstance(value, Mapping):
            return {key: relative(part) for key, part in value.items()}
        return [relative(part) for part in value] if isinstance(value, list | tuple) else value

    return relative


def answers_with(relative: Callable[[Any], Any]) -> type[JSONResponse]:
    """A kind of answers whose texts are passed through ``relative``."""

    class Answer(JSONResponse):
        def render(self, content: Any) -> bytes:
            return super().render(relative(content))

    return Answer
