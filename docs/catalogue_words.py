"""Headings of the catalogue, and what it states about the studies, in English and 繁體中文.

Its prose is in templates/catalogue*.md. Texts of modules, such as when one would want them, have their translations
among those of the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from regard.system.translation import translate_into


class Words(NamedTuple):
    """The fixed texts and templates of one language; names in braces are filled in."""

    code: str
    headings: tuple[str, ...]
    block_headings: tuple[str, ...]
    time: str
    when_headings: tuple[str, str]
    families: Mapping[str, str]
    """Names as they are shown, by the name that `regard catalogue` takes; the same where there is none."""
    blocks: Mapping[str, str]
    """What each block around attention is, by name; its docstring where there is none."""
    yes: str
    no: str
    export_instead: str
    times: str
    measurement: str
    scene: str
    studies: str
    study: str
    nothing: str
    verdict: str
    to: str
    swap: str
    swap_time: str
    between: tuple[str, str]
    """Between times, and between findings."""
    brackets: tuple[str, str]
    """Around a link that follows a text."""
    gap: str
    """Between sentences."""
    tasks: Mapping[str, str]
    """What the data of a study are, by its folder."""
    other: Mapping[str, tuple[str, str]]
    """Findings on other pages, by module; a test compares their numbers with the page."""
    unmeasured: str
    stop: str
    page_modules: str
    page_level: str
    page_about: str
    page: Mapping[str, str]
    """Other texts of the HTML page, by the English one; the same where there is none."""

    @property
    def translate(self) -> Callable[[str], str]:
        """What translates the texts of a module; those without a translation stay English."""
        return partial(translate_into, language=self.code)


ENGLISH = Words(
    code="en",
    headings=(
        *("module", "family", "paper", "formula", "parameters", "FLOPs", "positions", "exports", "proven equal to"),
    ),
    block_headings=("block", "what", "parameters", "FLOPs"),
    time="time at {level}",
    when_headings=("module", "when, and what is known"),
    families={},
    blocks={},
    yes="yes",
    no="no: {obstacle}",
    export_instead="; export `{instead}`",
    times="Times are relative to `{reference}`, from the newest measurement of a module:\n\n",
    measurement="- [{name}](results/{name}.md), {model}: {about}",
    scene="the scene",
    studies="Studies: {found}.",
    study="{text} ([study]({page}))",
    nothing="No study of this project has measured it in a detector.",
    verdict="{verdict} {task}, after {after} of {base}, {amount} ({interval}, {seeds} seeds)",
    to=" to ",
    swap="in place of {replaced} it makes {model} at {size} px so many times as fast: {times}",
    swap_time="{middle} at {level} ({least} to {most})",
    between=(", ", "; "),
    brackets=(" (", ")"),
    gap=" ",
    tasks={
        "bccd-attention": "on blood cells",
        "bccd-cheap": "on blood cells in a short study",
        "demo": "in 1,000 drawn scenes where the whole image decides",
        "tasks-context": "in drawn scenes where the whole image decides",
        "tasks-local": "in drawn scenes where each object shows its own class",
    },
    other={
        "AreaAttention": (
            "global attention in place of its areas at p4 makes yolo12n take 1.26 times as long at 640 px, 1.63 at "
            "1280 px",
            "results/area.md",
        ),
        "MultiHeadSelfAttention": (
            "at P3 of yolov5n it takes 0.28 of the time of torch.nn.MultiheadAttention as called by default, and 0.03 "
            "of its memory",
            "results/multihead.md",
        ),
    },
    unmeasured="its effect on AP has not been measured",
    stop=".",
    page_modules="{count} modules that regard inserts into a YOLO detector by name. Numbers are for default options on "
    "the maps of yolov5n at 640 px: ",
    page_level="{level} {channels} channels, {side} x {side}",
    page_about=". Parameters are those at P4. Times are relative to MultiHeadSelfAttention, measured in turn with it "
    "on a CPU; where none is given, none was measured. Formulas, figures and the measurements are in ",
    page={},
)
CHINESE = Words(
    code="zh-TW",
    headings=("模組", "系列", "論文", "公式", "參數量", "FLOPs", "位置嵌入", "匯出", "驗證相等"),
    block_headings=("區塊", "說明", "參數量", "FLOPs"),
    time="{level} 的時間",
    when_headings=("模組", "什麼時候用，以及已知的結果"),
    families={
        "channel": "通道（channel）",
        "spatial": "空間（spatial）",
        "channel and spatial": "通道與空間（channel and spatial）",
        "global": "全域（global）",
        "local": "局部（local）",
        "sparse": "稀疏（sparse）",
        "low-rank": "低秩（low-rank）",
        "kernel": "核函數（kernel）",
        "convolution": "卷積（convolution）",
    },
    blocks={
        "C3": "含三個 1x1 卷積的跨階段部分（cross-stage-partial）區塊：一半的通道經過一疊瓶頸",
        "C3TR": "前半經過 4 個頭的 Transformer 區塊的 C3；名稱與參數名稱都與 YOLOv5 相同",
        "C3Attention": "每個瓶頸的最後是注意力的 C3",
        "C2fAttention": "每個瓶頸的最後是注意力的 C2f",
        "C3k2Attention": "每個瓶頸的最後是注意力的 C3k2，C3k 裡面的瓶頸也是",
        "SwinStage": "每兩個區塊中第二個會移動視窗的一系列區塊",
        "PartialSelfAttention": "一半的通道經過自注意力的跨階段部分區塊",
        "AreaAggregation": "依序相接的區域注意力區塊，串接所有區塊的特徵圖",
        "MultiScaleDeformable": "第一張特徵圖的每個位置注意各張特徵圖的少數幾個點，由該位置自己的向量預測",
    },
    yes="可",
    no="否：{obstacle}",
    export_instead="；請匯出 `{instead}`",
    times="時間以 `{reference}` 為 1，取自每個模組最新的量測；條件與指令寫在各頁（英文）：\n\n",
    measurement="- [{name}](results/{name}.md)，{model}",
    scene="場景",
    studies="研究：{found}。",
    study="{text}（[研究]({page})）",
    nothing="本專案還沒有在偵測器中量測它的研究。",
    verdict="{task}，在 {base} 的 {after} 之後：{verdict}，{amount}（{interval}，{seeds} 個種子）",
    to=" 至 ",
    swap="取代 {replaced} 時，{model} 在 {size} 像素的速度變為：{times}",
    swap_time="{level} {middle} 倍（{least} 至 {most}）",
    between=("、", "；"),
    brackets=("（", "）"),
    gap="",
    tasks={
        "bccd-attention": "血球影像",
        "bccd-cheap": "血球影像的短研究",
        "demo": "1,000 個畫出來的場景（類別由整張影像決定）",
        "tasks-context": "畫出來的場景（類別由整張影像決定）",
        "tasks-local": "畫出來的場景（物件本身就看得出類別）",
    },
    other={
        "AreaAttention": (
            "在 p4 以全域注意力取代它的區域，yolo12n 的時間在 640 像素變為 1.26 倍，在 1280 像素變為 1.63 倍",
            "results/area.md",
        ),
        "MultiHeadSelfAttention": (
            "在 yolov5n 的 P3，時間是以預設方式呼叫 torch.nn.MultiheadAttention 的 0.28 倍，記憶體是 0.03 倍",
            "results/multihead.md",
        ),
    },
    unmeasured="對 AP 的影響尚未量測",
    stop="。",
    page_modules="regard 可以用名稱把這 {count} 個模組插入 YOLO 偵測器。數字是預設選項在 640 像素的 yolov5n 特徵圖"
    "上的值：",
    page_level="{level} 是 {channels} 個通道，{side} x {side}",
    page_about="。參數量是在 P4 的值。時間以 MultiHeadSelfAttention 為 1，在 CPU 上交替量測；沒有寫的就是沒有量測。"
    "公式、圖與量測見",
    page={
        "Catalogue of attention modules": "注意力模組目錄",
        "the catalogue": "目錄頁",
        "any": "不限",
        "Filters": "篩選條件",
        "Search": "搜尋",
        "name or text": "名稱或文字",
        "family": "系列",
        "cost": "成本",
        "linear in N": "隨 N 線性增加",
        "not linear": "非線性",
        "linear": "線性",
        "with": "有",
        "without": "沒有",
        "yes": "是",
        "no": "否",
        "positions": "位置嵌入",
        "exports": "可匯出",
        "At most (GFLOPs)": "上限（GFLOPs）",
        "Family": "系列",
        "Cost": "成本",
        "Position embedding": "位置嵌入",
        "Exports": "可匯出",
        "at": "層級",
        "Sort by": "排序依據",
        "order of the catalogue": "目錄的順序",
        "descending": "由大到小",
        "Reset": "重設",
        "Modules": "模組",
        "module": "模組",
        "parameters": "參數量",
        "GFLOPs, P3": "GFLOPs，P3",
        "GFLOPs, P4": "GFLOPs，P4",
        "GFLOPs, P5": "GFLOPs，P5",
        "time, P3": "時間，P3",
        "time, P4": "時間，P4",
        "time, P5": "時間，P5",
        "Studies: ": "研究：",
        "study": "研究",
        "{count} of {all} modules": "{all} 個模組中的 {count} 個",
        "None of {all} modules meets all conditions.": "{all} 個模組都不符合全部條件。",
        "Made by docs/make_catalogue.py. This file needs no other and no network.": "由 docs/make_catalogue.py 產生。"
        "不需要其他檔案與網路。",
    },
)
PAGES = {"catalogue.md": ENGLISH, "catalogue.zh-TW.md": CHINESE}
