"""The language of the command line: what decides it, and that all that is shown in it is translated."""

from __future__ import annotations

import gettext
import io
import json
import logging
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from babel.messages.pofile import read_po
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from regard.cli.messages import _Handler
from regard.cli.screen import localized
from regard.data.check import CheckReport
from regard.data.dataset import Problem
from regard.errors import RegardError, RegardWarning, nearest
from regard.graph.lint_files import Finding, formatted
from regard.system import translation
from regard.system.plain_table import verbatim
from regard.system.terminal import plain_text
from scripts import ROOT, load_script

CATALOGUES = sorted((ROOT / "src" / "regard" / "locale").glob("*/LC_MESSAGES/regard.po"))
VALUE = re.compile(r"\{\w*(?:!\w)?\}|--[a-z][a-z-]*|`[^`]*`|\[/?blue\]")
"""What a translation repeats as it is: values, options, commands and markup."""

PLURALS = ("{1}", "{2}")
"""The ending of a plural, which Chinese does not have."""

SHOW = """
import json, shutil, sys, typer
from regard.system.translation import use_language
use_language("zh-TW")
from regard.cli import app

def texts(command, name):
    context = typer.Context(command, info_name=name)
    yield [name, command.help or ""]
    yield [name, command.rich_help_panel if isinstance(command.rich_help_panel, str) else ""]
    for param in command.get_params(context):
        yield [f"{name} {param.name}", getattr(param, "help", "") or ""]
    for child in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from texts(command.get_command(context, child), f"{name} {child}")

json.dump(list(texts(typer.main.get_command(app), "regard")), sys.stdout)
"""


@pytest.fixture(scope="module")
def make() -> ModuleType:
    return load_script("docs/make_translations.py")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_TW.UTF-8"}, "zh-TW"),
        ({"LANG": "zh_Hant_HK.UTF-8"}, "zh-TW"),
        ({"LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "zh_HK.UTF-8"}, "zh-TW"),
        ({"LANG": "zh_MO"}, "zh-TW"),
        ({"LANG": "zh_TW@radical"}, "zh-TW"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LC_ALL": "C", "LANG": "zh_TW.UTF-8"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "zh_TW.Big5", "LANG": "en_US.UTF-8"}, "zh-TW"),
        ({"LANGUAGE": "zh_TW:en", "LANG": "en_US.UTF-8"}, "zh-TW"),
        ({"LANGUAGE": "fr:zh_HK", "LC_ALL": "en_US.UTF-8"}, "zh-TW"),
        ({"LANGUAGE": "en_US:en", "LANG": "zh_TW.UTF-8"}, "en"),
        ({"LANGUAGE": "zh_CN", "LANG": "zh_TW.UTF-8"}, "en"),
        ({"LANGUAGE": "", "LANG": "zh_TW.UTF-8"}, "zh-TW"),
        ({"LANGUAGE": "zh_TW", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANGUAGE": "zh_TW"}, "en"),
        ({"LANGUAGE": "zh_TW", "REGARD_LANG": "en", "LANG": "fr_FR"}, "en"),
        ({"REGARD_LANG": "zh-TW", "LC_ALL": "en_US.UTF-8"}, "zh-TW"),
        ({"REGARD_LANG": "zh_hant"}, "zh-TW"),
        ({"REGARD_LANG": "zh"}, "zh-TW"),
        ({"REGARD_LANG": "en", "LANG": "zh_TW.UTF-8"}, "en"),
        ({"REGARD_LANG": "", "LANG": "zh_TW.UTF-8"}, "zh-TW"),
    ],
)
def test_the_variable_decides_then_the_locale(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locale.getlocale", lambda: (None, None))
    assert translation.choose_language(environment) == expected


def test_windows_names_the_language_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locale.getlocale", lambda: ("Chinese (Traditional)_Taiwan", "950"))
    assert translation.choose_language({}) == "zh-TW"


@pytest.mark.parametrize("name", ["fr", "zh_CN", "zh-Hans", "enochian", "../zh-TW", "\x1b[2J"])
def test_another_language_is_english_with_one_warning(name: str) -> None:
    assert translation.choose_language({"REGARD_LANG": name, "LANG": "zh_TW.UTF-8"}) == "en"
    with pytest.warns(RegardWarning) as warned:
        translation.warn_of_unused_language({"REGARD_LANG": name})
    assert len(warned) == 1


@pytest.mark.parametrize("environment", [{}, {"LANG": "fr_FR"}, {"REGARD_LANG": ""}, {"REGARD_LANG": "zh_HK"}])
def test_no_warning_without_a_mistake(environment: dict[str, str]) -> None:
    translation.warn_of_unused_language(environment)  # warnings are errors


@pytest.mark.parametrize(("encoding", "expected"), [("cp1252", "en"), ("cp950", "zh-TW"), ("utf-8", "zh-TW")])
def test_an_output_without_its_characters_is_in_english(
    encoding: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert translation.printable_language("zh-TW") == expected
    assert translation.printable_language("en") == "en"
    translation.warn_of_unused_language({"LANG": "zh_TW"})  # warnings are errors
    if expected == "en":
        with pytest.warns(RegardWarning, match=encoding):
            translation.warn_of_unused_language({"REGARD_LANG": "zh-TW"})


def test_an_unknown_locale_is_english(monkeypatch: pytest.MonkeyPatch) -> None:
    def getlocale() -> None:
        raise ValueError("unknown locale: UTF-8")

    monkeypatch.setattr("locale.getlocale", getlocale)
    assert translation.choose_language({}) == "en"


def test_nothing_is_translated_before_a_language_is_chosen() -> None:
    assert translation.translate("stopped") == "stopped"
    assert str(RegardError("a", expected="b")) == "a\n  expected: b"


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_the_catalogue_is_current_complete_and_compiled(path: Path, make: ModuleType) -> None:
    with path.open("rb") as file:
        stored = read_po(file)
    translated = {message.id for message in stored if message.string}
    needed = {message.id for message in make.updated(stored) if message.id}
    missing = needed - translated
    said = "run: python docs/make_translations.py, and translate"
    assert missing == set(), said
    assert make.compiled(stored) == path.with_suffix(".mo").read_bytes(), "run: python docs/make_translations.py"
    for message in stored:
        if message.id and message.string:
            values, repeated = (
                Counter(VALUE.findall(re.sub(r"[=+]}", "}", text))) for text in (message.id, message.string)
            )
            assert repeated <= values, message.id
            assert not re.search(r"[^.][.?]$", message.id) or message.string[-1] in "。？！；…」", message.id
            assert all(value in PLURALS for value in (values - repeated)), message.id


def test_the_reader_of_catalogues_agrees_with_gettext() -> None:
    for path in CATALOGUES:
        with path.with_suffix(".mo").open("rb") as file:
            reference = gettext.GNUTranslations(file)
        found = translation.read_catalogue(path.with_suffix(".mo"))
        assert len(found) > 200
        assert all(reference.gettext(source) == target for source, target in found.items() if source)


def test_all_help_is_translated() -> None:
    result = subprocess.run(
        [sys.executable, "-c", SHOW],
        capture_output=True,
        check=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    texts = [(where, text) for where, text in json.loads(result.stdout) if text]
    assert len(texts) > 250
    assert [one for one in texts if not re.search("[\u4e00-\u9fff]", one[1])] == []
    assert [one for one in texts if re.search(r"([A-Za-z]+ ){4}", VALUE.sub("", one[1]))] == []


def run(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "regard", *arguments],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"REGARD_LANG": "zh-TW", "PYTHONIOENCODING": "utf-8"} | changed,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "changed", "expected"),
    [
        (["--version"], {"REGARD_LOG": "inform"}, ["錯誤：REGARD_LOG", "應為：", "是不是 'info'？"]),
        (["summary", "odd-one-out", "--imgsz", "abc"], {}, ["'abc'；應為：整數"]),
        (["summary", "--nope"], {}, ["用法：python", "沒有選項 --nope"]),
        (["summary", "--nope"], {"REGARD_LANG": "fr"}, ["warning: REGARD_LANG is 'fr'", "No such option: --nope"]),
    ],
)
def test_errors_are_in_the_language(arguments: list[str], changed: dict[str, str], expected: list[str]) -> None:
    result = run(*arguments, **changed)
    assert result.returncode == 2
    assert [text for text in expected if text not in result.stderr] == []


def test_help_fits_a_narrow_terminal() -> None:
    lines = run("val", "--help", COLUMNS="80").stdout.splitlines()
    assert lines[0].startswith("用法：python")
    assert 70 < max(map(cell_len, lines)) <= 80


@pytest.mark.usefixtures("chinese")
def test_texts_with_values_are_translated_by_templates() -> None:
    assert (
        translation.translate("No such option: --nope (Possible options: --plots)")
        == "沒有選項 --nope（可能是：--plots）"
    )
    assert translation.translate("Invalid value for '--batch': 'x' is not a valid int.") == (
        "'--batch' 的值不正確：'x' 不是正確的 int。"
    )
    assert translation.translate("an unknown sentence, from 1 to 2") == "an unknown sentence, from 1 to 2"
    assert RegardError("x", expected="y", hint=nearest("Cnov", ["Conv"])).to_text(translation.translate) == (
        "x\n  應為：y\n  是不是 'Conv'？"
    )


REPORTED = {
    "weights: all 349 tensors kept, 3 of the source unused (some under another index)": (
        "權重：保留全部 349 個張量，來源有 3 個沒有用到（有些在另一個索引之下）"
    ),
    "re-wired to read a instead of b, inserted between": "重新接線：讀取 a 而不是 b，插入在其間",
    "re-wired to read [a, b] instead of c; the former d is now c": (
        "重新接線：讀取 [a, b] 而不是 c；原本的 d 現在叫做 c"
    ),
    "re-wired to read a instead of the former a": "重新接線：讀取 a，而不是原本的 a",
    "reads [a, b]": "讀取 [a, b]",
    "p3.se: 3 of 5 tensors new": "p3.se：5 個張量中有 3 個是新的",
    "SE@p3 helps: +0.0123 AP (95 % interval +0.0011 to +0.0235, 5 paired seeds).": (
        "SE@p3 有幫助：+0.0123 AP（95 % 信賴區間 +0.0011 至 +0.0235，5 個成對種子）。"
    ),
    "2 of 7 runs finished, 3 running": "7 次訓練中完成 2 次，3 個執行中",
    "epochs is 0": "epochs 是 0",
    "ms per image: preprocess 0.9, network 29.4, NMS 10.2": "每張影像的毫秒數：前處理 0.9，網路 29.4，NMS 10.2",
    "anchors: best possible recall 1.000": "錨框：可能的最高 recall 是 1.000",
    "p3.m: its mixing is 8.2% of the model's FLOPs. Some have fewer other products as well.": (
        "p3.m：它的混合占整個模型 FLOPs 的 8.2%。其中有些的其他乘積也較少。"
    ),
    "Permission denied. A cat is here.": "Permission denied. A cat is here.",
    "  p2: 16 not kept: 16 in the source, 32 here, and 6 other reasons": (
        "  p2：16 個沒有保留：來源是 16，這裡是 32，以及其他 6 個原因"
    ),
    "a.yaml:32: no such file": "a.yaml:32：沒有這個檔案",
    "a folder, no such file": "資料夾，沒有這個檔案",
    "2 x zero-area box, such as a b/c.txt:3: cat: centre (0.5, 0.25), size (0, 0.125) of the image (box dropped)": (
        "面積為零的方框：2 個，例如 a b/c.txt:3：cat：中心 (0.5, 0.25)，大小 (0, 0.125)，以影像的比例計（方框已去除）"
    ),
    "unknown keys: a/data.yaml: foo: 3 (not used)": "不認得的鍵：a/data.yaml: foo: 3（沒有使用）",
    "p3.se: SE: reduction is 'a'": "p3.se：SE：reduction 是 'a'",
    "a whole number": "整數",
    "a cat (of a kind)": "a cat (of a kind)",
    "seeds is empty": "seeds 是空的",
    "the cat is not here": "the cat is not here",
    "this is not a torch checkpoint (it begins with b'x')": "這是不明的檔案，不是 torch 檢查點（開頭是 b'x'）",
    "a mapping with backbone and head, or base and insert": "含有 backbone 與 head，或 base 與 insert 的對應表",
    "layer 'p3.se': num_heads 7 does not divide 256 channels": "層 'p3.se'：num_heads 7 不能整除 256 個通道",
    "layer 'p3.se': SE: reduction is 'x'": "層 'p3.se'：SE：reduction 是 'x'",
    "a folder with run.json, opt.yaml or args.yaml": "含有 run.json、opt.yaml 或 args.yaml 的資料夾",
    "unknown family 'foo'": "不認得的系列 'foo'",
    "one of stem, p2.down, p2": "stem、p2.down、p2 其中之一",
    "data: unknown keys: a: b (not used)": "資料：不認得的鍵：a: b（沒有使用）",
    "this is a Git LFS pointer, not the file itself": "這是 Git LFS 的指標檔，不是檔案本身",
    "layer 'p5': CBAM: kernel_size 4 is not odd and positive": "層 'p5'：CBAM：kernel_size 4 不是正的奇數",
    "one of 'map', 'gradient'": "'map'、'gradient' 其中之一",
    "this is an empty file": "這是空的檔案",
    "a cat of a kind": "a cat of a kind",
    "m.onnx (onnx opset 18, 8.1 MB, 63.6 s)": "m.onnx（onnx opset 18，8.1 MB，63.6 秒）",
    "no such file, , no such file": "no such file, , no such file",
    "this is a model of the `ultralytics` package for pose estimation, with the head 'x.Pose'": (
        "這是 `ultralytics` 套件的模型，用途是姿態估計，偵測頭是 'x.Pose'"
    ),
    "this is a checkpoint of another model (with the key 'conv1.weight' instead of `model.<row>...`)": (
        "這是另一種模型的檢查點（鍵是 'conv1.weight'，而不是 `model.<row>...`）"
    ),
    "x/y: cannot write here (No such file or directory)": "x/y：無法在這裡寫入（沒有這個檔案或資料夾）",
    "layer 'p5': SE does not take over nc 80 of C3; give its options by -a (in Python: options=)": (
        "層 'p5'：SE 沒有沿用 C3 的 nc 80；用 -a 給它的選項（Python 中：options=）"
    ),
    "cannot open the stream rtsp://a:9/b: a, port 9: Connection refused (tried for 2.1 seconds)": (
        "無法開啟串流 rtsp://a:9/b：a，連接埠 9：連線遭拒（試了 2.1 秒）"
    ),
    "layer 'se': SE, [16, 16] has two meanings": "層 'se'：SE, [16, 16] 有兩種意思",
    "layer 'a' (Concat): maps of different sizes: row 0 ('b', Conv) has stride 8, row 1 ('c', Conv) has stride 16": (
        "層 'a'（Concat）：特徵圖的大小不同：第 0 列（'b'，Conv）的步幅是 8，第 1 列（'c'，Conv）的步幅是 16"
    ),
    "did you mean 'a', 'b' or 'c'?": "是不是 'a'、'b' 或 'c'？",
    "a whole number or a list": "整數或清單",
    "44.7 MFLOPs, no attention that mixes; 5.8 ms per image at 64 px on cpu with 2 threads": (
        "44.7 MFLOPs，沒有做混合的注意力；在 cpu（2 個執行緒）上，64 像素時每張影像 5.8 毫秒"
    ),
    "layer 'detect': SE does not take over nc 'nc', anchors 'anchors' of Detect": (
        "層 'detect'：SE 沒有沿用 Detect 的 nc 'nc'、anchors 'anchors'"
    ),
    "everything is in labels; the best weights are best.safetensors": "所有結果在 labels；最佳權重是 best.safetensors",
    "one of images, labels": "images、labels 其中之一",
    "classes, 2 from the data: 貓, labels": "類別，來自資料的 2 個：貓、labels",
    "num_heads: 1, 2, 4": "num_heads：1、2、4",
    "imgsz is (0, 64)": "imgsz is (0, 64)",
    "a/data.yaml: yolo, 2 classes": "a/data.yaml：yolo，2 個類別",
    "at least 1 or a mapping": "至少 1 或對應表（mapping）",
    "cannot be read: it is a folder": "無法讀取：它是資料夾",
    "both a.json and b.json are train": "a.json 與 b.json 都是 train",
    "not valid JSON: 10000000000000000000... is a number of more than 64 bits": (
        "不是正確的 JSON：10000000000000000000... 是超過 64 位元的數"
    ),
    "not valid JSON: Expecting value": "不是正確的 JSON：這裡應該有值",
    "the file is truncated, damaged, or not a safetensors file (Error while deserializing header: header too small)": (
        "檔案截斷、損壞，或不是 safetensors 檔（無法解讀標頭：header too small）"
    ),
    "SE, [8, {reduction: 8}] if the second number is its reduction; SE, [8] if both numbers are channels": (
        "SE, [8, {reduction: 8}]，若第二個數字是 reduction；SE, [8]，若兩個數字都是通道數"
    ),
    "layer 'd': Concat combines maps of different sizes: a has stride 8, b has stride 16, c has stride 32": (
        "層 'd'：Concat 合併大小不同的特徵圖：a 的步幅是 8，b 的步幅是 16，c 的步幅是 32"
    ),
    "a Python file, as in my_layer.py:MyLayer": "Python 檔，例如 my_layer.py:MyLayer",
}


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize("text", REPORTED)
def test_lines_of_reports_are_translated_with_their_parts(text: str) -> None:
    assert translation.translate(text) == REPORTED[text]


@pytest.mark.usefixtures("chinese")
def test_reports_are_translated_but_for_their_data() -> None:
    table = Table("class", "labels", title="AP on val")
    table.add_row("images", "3")
    group = Group(table, Text.assemble(("1. ", "red"), "no weights", style="bold"))
    lines = plain_text(localized(group), 60)
    assert [text for text in ("類別", "標註", "val 上的 AP", "images", "1. ") if text not in lines] == []
    assert "class" not in lines


@pytest.mark.usefixtures("chinese")
def test_a_path_in_a_line_of_parts_is_not_translated() -> None:
    line = Text.assemble(("data set:", "dim"), (" ", "dim"), verbatim("labels", "dim"), (": ", "dim"))
    assert plain_text(localized(line.append("labels", "dim")), 60) == "資料集：labels：標註"


def test_translations_keep_paths_and_names(make: ModuleType) -> None:
    kept = make.kept_values(make.SOURCE)
    assert kept["everything is in {0}; the best weights are best.safetensors"] == {0}
    for path in CATALOGUES:
        with path.open("rb") as file:
            stored = {message.id: message.string for message in read_po(file) if message.id}
        changed = {text for text, string in stored.items() if make.with_kept(string, kept.get(text, ())) != string}
        assert changed == set(), "run: python docs/make_translations.py"


@pytest.mark.usefixtures("chinese")
def test_problems_of_a_data_set_are_translated_but_stay_english_in_json() -> None:
    problems = (
        Problem(
            "duplicate box", "labels/a.txt", "cat: centre (0.5, 0.5), size (0.1, 0.1) of the image", "box dropped", 3
        ),
    )
    report = CheckReport("data", "yolo", ("cat",), {}, problems)
    lines = plain_text(localized(report), 200)
    assert "重複的方框：1（方框已去除）" in lines
    assert "labels/a.txt:3: cat：中心 (0.5, 0.5)，大小 (0.1, 0.1)，以影像的比例計" in lines
    assert report.to_dict()["problems"][0]["kind"] == "duplicate box"


@pytest.mark.usefixtures("chinese")
def test_messages_of_the_log_are_translated_with_their_level(capsys: pytest.CaptureFixture[str]) -> None:
    record = logging.LogRecord("regard", logging.WARNING, "", 0, "data: %s", ("unknown keys: a: b (not used)",), None)
    _Handler().emit(record)
    assert capsys.readouterr().err.strip() == "警告：資料：不認得的鍵：a: b（沒有使用）"


@pytest.mark.usefixtures("chinese")
def test_findings_of_lint_are_translated_for_people_alone() -> None:
    found = [Finding("a.yaml", 3, "invalid", "nothing reads this layer; corrected row: [[-1, 3], 1, Concat, [1]]")]
    assert "修正後的列：[[-1, 3], 1, Concat, [1]]" in formatted(found, "text", translation.translate)
    for form in ("github", "json"):
        assert "corrected row" in formatted(found, form, translation.translate)


def test_the_table_of_the_catalogue_is_translated_and_aligned() -> None:
    lines = run("catalogue", "--family", "kernel").stdout.splitlines()
    assert lines[0].split()[:4] == ["模組", "系列", "線性", "可匯出"]
    ends = {cell_len(line[: line.index("kernel")]) for line in lines[1:-1]}
    assert ends == {cell_len(lines[0][: lines[0].index("系列")])}
    assert "family" in run("catalogue", "--family", "kernel", "--format", "markdown").stdout


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize("width", [11, 23, 47])
def test_lines_of_chinese_lose_nothing(width: int) -> None:
    text = "把層放在一開始關閉的閘後面（y = x + g (f(x) - x)），例如 sppf、p4 或 9。"
    table = Table.grid()
    table.add_row(text)
    lines = plain_text(table, width).splitlines()
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert max(map(cell_len, lines)) <= width
    assert not any(line.startswith(tuple("。，、）")) for line in lines)


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize(
    "text", ["x: " * 2000, "x, " * 2000, "x; " * 2000, "layer 'x: " * 400, "a has no option 'b" * 400, "is " * 1500]
)
def test_a_long_text_of_a_file_takes_no_cubic_time(text: str) -> None:
    translation.translate("stopped")  # the catalogue is read once
    began = time.process_time()
    assert translation.translate(text)
    assert time.process_time() - began < 2


@pytest.mark.usefixtures("chinese")
def test_values_are_no_templates() -> None:
    assert "{0}" in translation.translate("layer '{0}': unknown module '{1}'")
