"""What `regard doctor` prints for people, in English and in 繁體中文."""

from __future__ import annotations

import re

import pytest

from regard.cli.screen import localized
from regard.diagnosis.findings import GIVE_DATA, GIVE_WEIGHTS, OPEN_IMAGES, Diagnosis, Finding
from regard.system.terminal import plain_text

HALF_WIDTH = re.compile("[\u4e00-\u9fff][:,;()]|[:,;()] ?[\u4e00-\u9fff]|[（），：；、] | [（），：；、]")
"""Marks of English next to a Chinese character, and blanks next to full-width marks."""

FINDINGS = (
    Finding(
        "start_weights",
        "likely",
        "27 of the 60 kernels that yolov5n.pt has for this graph were lost, the first in layer 'head.p5_lateral'; "
        "median cosine with the trained kernels: -0.00",
        "load them by structure: regard insert, or --weights; for another package: regard convert",
    ),
    Finding(
        "start_weights",
        "likely",
        "all 84 kernels that C:\\w\\yolo11n.pt has for this graph were lost; median cosine with the trained kernels: "
        "+0.01",
        "the settings have pretrained: false; set it to true",
    ),
    Finding(
        "start_weights",
        "likely",
        "24 of the 57 kernels that yolov5n.pt has for this graph went to another layer, and 3 were lost; layer 'p4' "
        "started with those of 'p3', not with those of 'p4_down'",
        "load them by structure: regard insert, or --weights; for another package: regard convert",
    ),
    Finding(
        "labels",
        "likely",
        "10 of 134 labels are not used: 10 x class out of range, such as labels/train/a.txt:3: class 6, but the ids "
        "are 0 to 5 (box dropped)",
        "correct the labels: regard data check data/data.yaml lists all",
    ),
    Finding(
        "closed_gate",
        "possible",
        "at the end of the training the gate is still closed: p3.se +2.0e-05, p4.se +1.0e-05",
        "the layer changes nothing: train longer, raise gate_lr_factor, or insert it with --no-gate",
    ),
)
SKIPPED = {
    "wiring": "there are no weights in the folder",
    "diverged": "there are weights, but results.csv has no results: it is damaged",
    "early_stop": "there are weights, but results.csv has no results: it is damaged",
    "anchors": "the data set 'C:\\me\\x.yaml' was not found: name it with --data",
    "duplicates": "images are not opened (--quick)",
    "near_duplicates": "images are not opened (--quick)",
}
REMEDIES = (GIVE_DATA, GIVE_WEIGHTS, OPEN_IMAGES)


def diagnosis(findings: tuple[Finding, ...] = (), **changes: object) -> Diagnosis:
    stated = {"checked": ("labels",) * 11, "skipped": SKIPPED, "remedies": REMEDIES, "data": "/sets/cards/data.yaml"}
    result = (
        "300 of 300 epochs, best AP 0.502 (AP50 0.702) in epoch 290; line 301 of the table was not written completely"
    )
    note = "found by the end of its path as cards/data.yaml"
    return Diagnosis("runs/exp", "yolov5", result, findings, data_note=note, **{**stated, **changes})  # type: ignore[arg-type]


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize("findings", [FINDINGS, ()])
def test_the_chinese_screen_has_chinese_marks_and_no_blanks_after_them(findings: tuple[Finding, ...]) -> None:
    text = plain_text(localized(diagnosis(findings)), 1000)
    assert [line for line in text.splitlines() if HALF_WIDTH.search(line)] == []
    assert "未檢查：重複影像、近似重複的影像：沒有開啟影像" in text
    assert "資料集：/sets/cards/data.yaml，" in text
    assert "最佳 AP 0.502（AP50 0.702），" in text


@pytest.mark.parametrize(
    ("findings", "changes", "last"),
    [
        ((), {"skipped": {}}, "11 causes checked, none found"),
        (
            (),
            {},
            "nothing found, but 6 of 17 causes could not be checked: give --data, give --weights, leave out --quick",
        ),
        ((), {"remedies": ()}, "nothing found, but 6 of 17 causes could not be checked"),
        (FINDINGS, {}, "11 causes checked, 5 found; 6 could not be checked"),
        (FINDINGS, {"skipped": {}}, "11 causes checked, 5 found"),
    ],
)
def test_the_last_line_says_how_much_was_checked(
    findings: tuple[Finding, ...], changes: dict[str, object], last: str
) -> None:
    assert str(diagnosis(findings, **changes)).splitlines()[-1] == last
