"""`regard doctor` as it is called: comparison with a second run, what cannot be checked, and damaged folders."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from pathlib import Path

import pytest
import yaml
from chinese import WORDS, english_in
from run_folders import PACKAGES, Run, curve
from test_doctor import FAULTS
from typer.testing import CliRunner

import regard
from regard.cli import app
from regard.diagnosis import CAUSES
from regard.diagnosis.causes import COMPARISONS
from regard.diagnosis.findings import title
from regard.diagnosis.packages import read_run
from regard.errors import RegardError
from regard.system.translation import translate_into

each_package = pytest.mark.parametrize(
    "package", ["yolov5", *(pytest.param(package, marks=pytest.mark.slow) for package in ("regard", "ultralytics"))]
)


def invoke(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["doctor", *map(str, arguments)])
    if isinstance(done.exception, RegardError):
        raise done.exception
    return done.exit_code, done.stdout


@each_package
def test_the_exit_code_is_1_where_something_is_wrong(package: str, tmp_path: Path) -> None:
    folder = Run(tmp_path, package).write()
    code, text = invoke(folder, "--quick")
    assert code == 0
    last = "nothing found, but 2 of 17 causes could not be checked: leave out --quick"
    assert text.splitlines()[-1] == last
    assert "in epoch 395" in text  # nothing is cut off, however long the path
    assert "not checked: duplicates" in text
    code, text = invoke(Run(tmp_path, package, lr=0.9).write(), "--quick", "--json")
    report = json.loads(text)
    assert code == 1
    assert report["healthy"] is False
    assert [finding["cause"] for finding in report["findings"]] == ["learning_rate"]
    assert set(report["skipped"]) == {"duplicates", "near_duplicates"}


@each_package
@pytest.mark.parametrize(
    ("level", "lr", "causes"),
    [(0.6, 0.01, []), (0.59, 0.01, ["seed_noise"]), (0.59, 0.011, ["seed_noise"]), (0.3, 0.011, ["changed_settings"])],
)
def test_a_second_run_tells_chance_from_change(
    package: str, level: float, lr: float, causes: list[str], tmp_path: Path
) -> None:
    better = Run(tmp_path, package, folder="better", ap=curve(400, 0.6)).write()
    own = Run(tmp_path, package, lr=lr, ap=curve(400, level)).write()
    found = regard.doctor(own, against=better, quick=True)
    expected = causes or ["seed_noise"]
    assert [finding.cause for finding in found.findings] == expected
    assert (found.is_healthy is False) == ("changed_settings" in causes)
    if "changed_settings" in causes:
        assert "0.01 -> 0.011" in found.findings[0].evidence
    assert not regard.doctor(better, against=own, quick=True).findings or level > 0.5


def test_a_lower_run_with_equal_settings_has_no_cause_that_is_known(tmp_path: Path) -> None:
    better = Run(tmp_path, "yolov5", folder="better", ap=curve(400, 0.6)).write()
    own = Run(tmp_path, "yolov5", ap=curve(400, 0.48)).write()
    found = regard.doctor(own, against=better, quick=True)
    assert [finding.cause for finding in found.findings] == ["unexplained_drop"]
    assert re.search(r"0\.602 of .*better to 0\.482 ", found.findings[0].evidence)
    assert re.search(r"best AP 0\.482.* best AP 0\.602 in .*better", found.result)
    assert english_in(translate_into(found.findings[0].evidence, "zh-TW")) <= WORDS
    assert not regard.doctor(better, against=own, quick=True).findings


def test_runs_that_cannot_be_compared_are_said_to_be_so(tmp_path: Path) -> None:
    other = Run(tmp_path, "yolov5", folder="other").write()
    longer = Run(tmp_path, "yolov5", folder="longer", epochs=430, ap=curve(430)).write()
    rising = Run(tmp_path, "yolov5", folder="rising", ap=[0.7 * epoch / 400 for epoch in range(1, 401)]).write()
    for against, reason in ((other, "the same"), (longer, "400 and 430"), (rising, "still rising")):
        found = regard.doctor(other, against=against, quick=True)
        assert reason in found.skipped["seed_noise"]
        assert not found.findings or found.findings[0].cause != "seed_noise"


def test_runs_are_compared_in_the_epochs_that_both_have_finished(tmp_path: Path) -> None:
    other = Run(tmp_path, "yolov5", folder="other").write()
    own = Run(tmp_path, "yolov5", ap=curve(400)[:230]).write()
    text = next(one.evidence for one in regard.doctor(own, against=other, quick=True).findings if one.weight == "note")
    at = max(curve(400)[:230])
    assert text.startswith(f"AP {at:.3f} against {at:.3f}")


@each_package
def test_a_last_line_that_was_not_written_completely_is_left_out(package: str, tmp_path: Path) -> None:
    folder = Run(tmp_path, package).write()
    file = folder / "results.csv"
    file.write_text(file.read_text()[:-40])
    found = regard.doctor(folder, quick=True)
    assert not found.findings
    assert "399 of 400 epochs" in found.result
    assert "line 401" in found.result


TABLE_CAUSES = {"diverged", "no_ap", "early_stop", "still_rising"}


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("table", [None, b"", b"\n", b"\0\0", b"epoch,tra", b"epoch,train/box\n", b"epoch,x\n1,0.5,"])
def test_without_results_only_weights_show_that_epochs_were_finished(
    package: str, table: bytes | None, tmp_path: Path
) -> None:
    folder = Run(tmp_path, package).write_texts()
    file = folder / "results.csv"
    if table is None:
        file.unlink()
    else:
        file.write_bytes(table)
    found = regard.doctor(folder, quick=True)
    assert [finding.evidence for finding in found.findings] == ["no epoch is finished, and there are no weights"]
    assert ("not written completely" in found.result) == (table in (b"epoch,tra", b"epoch,x\n1,0.5,"))
    weights = folder / "best.safetensors" if package == "regard" else folder / "weights" / "best.pt"
    weights.parent.mkdir(exist_ok=True)
    weights.write_bytes(b"not opened here")
    found = regard.doctor(folder, quick=True)
    assert not found.findings
    assert found.is_healthy is None
    assert found.result == "number of epochs and AP unknown"
    reason = "no results.csv" if table is None else "results.csv has no results: it is damaged"
    assert {name for name, why in found.skipped.items() if why == f"there are weights, but {reason}"} == TABLE_CAUSES


@pytest.mark.parametrize(
    ("quick", "lr", "healthy"), [(False, 0.01, True), (True, 0.01, None), (True, 0.9, False), (False, 0.9, False)]
)
def test_a_run_is_healthy_only_if_all_causes_were_checked(
    quick: bool, lr: float, healthy: bool | None, tmp_path: Path
) -> None:
    found = regard.doctor(Run(tmp_path, "ultralytics", lr=lr).write(), quick=quick)
    assert found.is_healthy is healthy
    assert found.to_dict()["healthy"] is healthy
    assert found.to_dict()["complete"] is not quick
    assert invoke(tmp_path / "exp", *["--quick"] * quick)[0] == (healthy is False)


def test_what_more_can_be_named_is_said_at_the_end(tmp_path: Path) -> None:
    run = Run(tmp_path, "ultralytics")
    folder = run.write_texts()
    shutil.rmtree(run.data)
    found = regard.doctor(folder, quick=True)
    assert "anchors" in found.checked  # no head of this package has any
    last = str(found).splitlines()[-1]
    assert last.endswith(" of 17 causes could not be checked: give --data, give --weights")
    assert english_in(translate_into(last, "zh-TW")) <= WORDS
    assert "沒有找到" in translate_into(last, "zh-TW")


def test_causes_have_chinese_names() -> None:
    assert [name for name in CAUSES if translate_into(title(name), "zh-TW") == title(name)] == []


@pytest.mark.parametrize("page", ["doctor.md", "doctor.zh-TW.md"])
def test_each_cause_has_a_row_in_the_documents(page: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / page).read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:[^|]*（)?([^|（）]+?)）? \|", text, re.M)
    listed = [name for row in rows for name in re.split("[,、] ?", row)]
    assert [title(name) for name in CAUSES if title(name) not in listed] == []


def test_the_page_in_chinese_calls_causes_as_the_screen_does() -> None:
    text = (Path(__file__).parents[2] / "docs" / "doctor.zh-TW.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|（]+)（([^|）]+)） \|", text, re.M)
    listed = {english: own for names in rows for own, english in zip(*(one.split("、") for one in names), strict=True)}
    assert listed == {title(name): translate_into(title(name), "zh-TW") for name in CAUSES}


def test_each_cause_has_a_fault_that_shows_it() -> None:
    assert set(CAUSES) - set(COMPARISONS) == {cause for _, cause, _ in FAULTS}


@each_package
def test_what_cannot_be_checked_is_listed_with_its_reason(package: str, tmp_path: Path) -> None:
    run = Run(tmp_path, package)
    folder = run.write()
    for file in tmp_path.glob("start.*"):
        file.unlink()
    run.data.rename(tmp_path / "elsewhere")
    found = regard.doctor(folder)
    assert not found.findings
    assert "--weights" in found.skipped["start_weights"]
    assert "--data" in found.skipped["labels"]
    assert {"wiring", "learning_rate", "early_stop"} <= set(found.checked)
    assert "labels" in regard.doctor(folder, data=tmp_path / "elsewhere").checked


def test_epochs_are_counted_from_1_in_every_package(tmp_path: Path) -> None:
    for package in PACKAGES:
        record = read_run(Run(tmp_path, package, folder=package).write())
        assert (record.rows[0]["epoch"], record.finished, record.epochs) == (1, 400, 400)
        assert record.best is not None
        assert record.best[1] == pytest.approx(max(curve(400)), rel=1e-4)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("results.csv", "epoch,metrics/mAP_0.5:0.95\n0,much\n", "is 'much'"),
        ("results.csv", "epoch,metrics/mAP_0.5:0.95\n0\n", "values? in 2 columns"),
        ("results.csv", "loss\n1\n", "no table"),
        ("results.csv", "epoch\nnan\n", "without its epoch"),
        ("opt.yaml", "- 1\n", "no settings"),
        ("opt.yaml", "epochs: many\n", "epochs is 'many'"),
        ("opt.yaml", "epochs: !!python/object/apply:os.system ['touch hacked']\n", "opt.yaml"),
        ("hyp.yaml", "lr0: [1]\n", "lr0"),
        ("hyp.yaml", "warmup_epochs: .inf\n", "warmup_epochs"),
        ("results.csv", "epoch,metrics/mAP_0.5:0.95\n0\n1,0.5", "values? in 2 columns"),
        ("opt.yaml", "epochs: -3\n", "epochs is -3"),
        ("opt.yaml", "imgsz: [640, 0]\n", "imgsz"),
        ("opt.yaml", "patience: -1\n", "patience is -1"),
    ],
)
def test_damaged_files_are_errors_with_their_name(
    file: str, text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Run(tmp_path, "yolov5").write()
    (folder / file).write_text(text)
    with pytest.raises(RegardError, match=message) as caught:
        regard.doctor(folder)
    assert file in str(caught.value)
    assert not (tmp_path / "hacked").exists()


def test_values_out_of_all_proportion_are_findings_or_skipped(tmp_path: Path) -> None:
    folder = Run(tmp_path, "yolov5").write()
    options = yaml.safe_load((folder / "opt.yaml").read_text())
    for change in ({"batch_size": -1}, {"imgsz": []}, {"epochs": 10**12}, {"data": "\0"}):
        (folder / "opt.yaml").write_text(yaml.safe_dump({**options, **change}))
        assert regard.doctor(folder, quick=True).package == "yolov5"
    (folder / "results.csv").write_text("epoch,metrics/mAP_0.5:0.95\n")
    assert "it is damaged" in regard.doctor(folder, quick=True).skipped["early_stop"]


def test_folders_of_something_else_are_rejected(tmp_path: Path) -> None:
    for folder, message in ((tmp_path, "no training run"), (tmp_path / "nowhere", "no such folder")):
        with pytest.raises(RegardError, match=message):
            regard.doctor(folder)
    folder = Run(tmp_path, "ultralytics").write()
    args = yaml.safe_load((folder / "args.yaml").read_text())
    (folder / "args.yaml").write_text(yaml.safe_dump({**args, "task": "segment"}))
    with pytest.raises(RegardError, match="segment"):
        regard.doctor(folder)


def test_nothing_in_the_weights_is_executed(tmp_path: Path) -> None:
    class Program:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "hacked"),)

    folder = Run(tmp_path, "yolov5").write()
    (folder / "weights" / "best.pt").write_bytes(pickle.dumps({"model": Program()}))
    found = regard.doctor(folder)
    assert not (tmp_path / "hacked").exists()
    assert "best.pt cannot be read" in found.skipped["wiring"]


def test_nothing_is_written(tmp_path: Path) -> None:
    folder = Run(tmp_path, "regard").write()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    regard.doctor(folder)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_folder_that_was_moved_with_its_data_is_found(tmp_path: Path) -> None:
    run = Run(tmp_path, "yolov5")
    folder = run.write()
    options = yaml.safe_load((folder / "opt.yaml").read_text())
    (folder / "opt.yaml").write_text(yaml.safe_dump({**options, "data": "data/data.yaml"}))
    there = tmp_path / "moved"
    there.mkdir()
    for name in ("exp", "data", "start.pt"):
        shutil.move(tmp_path / name, there / name)
    assert not regard.doctor(there / "exp").skipped


@each_package
def test_settings_that_change_no_result_explain_no_drop(package: str, tmp_path: Path) -> None:
    file = {"yolov5": "opt.yaml", "ultralytics": "args.yaml"}.get(package)
    better = Run(tmp_path, package, folder="better", ap=curve(400, 0.6)).write()
    own = Run(tmp_path, package, ap=curve(400, 0.48)).write()
    for folder, workers, device in ((better, 8, ""), (own, 2, "0,1")) if file else ():
        settings = yaml.safe_load((folder / file).read_text()) | {"workers": workers, "device": device}
        (folder / file).write_text(yaml.safe_dump(settings))
    assert [one.cause for one in regard.doctor(own, against=better, quick=True).findings] == ["unexplained_drop"]
