from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hand_edits import STOCK_N
from typer.testing import CliRunner

from regard.cli import app
from regard.errors import RegardError
from regard.graph.lint_files import exit_code, files_of, formatted, lint, lint_each
from regard.weights.detector import load_detector

WRONG = STOCK_N.replace("[-1, 1, SPPF, [1024, 5]],  # 9", "[-1, 1, SPPF, [1024, 5]],\n   [-1, 1, SE, []],")
UNUSUAL = STOCK_N.replace("[17, 20, 23]", "[20, 23]").replace("  - [116,90, 156,198, 373,326]  # P5/32\n", "")
DATA = "train: images\nnc: 2\nnames: [a, b]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    below = tmp_path / "models" / "below"
    below.mkdir(parents=True)
    for name, text in {
        "right.yaml": STOCK_N,
        "data.yaml": DATA,
        "note.yml": UNUSUAL,
        "below/wrong.yaml": WRONG,
    }.items():
        (tmp_path / "models" / name).write_text(text)
    return tmp_path / "models"


def test_files_are_found_in_folders_and_by_patterns_each_once(folder: Path) -> None:
    everything = files_of([str(folder)])
    assert [file.name for file in everything] == ["wrong.yaml", "data.yaml", "note.yml", "right.yaml"]
    assert files_of([str(folder / "**" / "*.yaml"), str(folder / "right.yaml")]) == [
        file for file in everything if file.suffix == ".yaml"
    ]


def test_every_wrong_row_is_one_line_and_files_without_a_graph_are_skipped(folder: Path) -> None:
    findings, checked = lint([str(folder)])
    assert {file.name for file in checked} == {"wrong.yaml", "note.yml", "right.yaml"}
    lines = formatted(findings, "text").split("\n")
    assert len(lines) == len(findings) == 4  # two joins and Detect; one note
    wrong = WRONG.split("\n")
    for finding in findings:
        if finding.kind == "miswired":
            assert finding.line is not None
            assert "Concat" in wrong[finding.line - 1] or "Detect" in wrong[finding.line - 1]
            assert "corrected row: " in finding.message
    assert [finding.kind for finding in findings].count("note") == 1
    assert exit_code(findings) == 1
    notes = [finding for finding in findings if finding.kind == "note"]
    assert (exit_code(notes), exit_code(notes, strict=True), exit_code([])) == (0, 1, 0)


def test_a_named_file_is_checked_whatever_it_holds(folder: Path) -> None:
    (finding,) = lint([str(folder / "data.yaml")])[0]
    assert finding.kind == "invalid"


@pytest.mark.parametrize("text", [None, "nc: [", "\x00"])
def test_an_unreadable_file_exits_2(folder: Path, text: str | None) -> None:
    if text is not None:
        (folder / "odd.yaml").write_text(text)
    (finding,) = lint([str(folder / "odd.yaml")])[0]
    assert finding.kind == "unreadable"
    result = CliRunner().invoke(app, ["lint", str(folder / "odd.yaml"), str(folder / "right.yaml")])
    assert result.exit_code == 2


def test_formats_for_github_and_programs(folder: Path) -> None:
    result = CliRunner().invoke(app, ["lint", str(folder), "--format", "json"])
    assert result.exit_code == 1
    rows = json.loads(result.stdout)
    assert {row["kind"] for row in rows} == {"miswired", "note"}
    text = CliRunner().invoke(app, ["lint", str(folder), "--format", "github"]).stdout
    lines = text.strip().split("\n")
    assert [line.split(" ")[0] for line in lines].count("::error") == 3
    assert all(f",line={row['line']}" in line for row, line in zip(rows, lines, strict=True))


def test_a_line_break_in_a_name_cannot_forge_a_command(folder: Path) -> None:
    text = STOCK_N.replace("SPPF", '"x\\n::error::y"')
    (folder / "forged.yaml").write_text(text)
    (folder / "a\n::error::y.yaml").write_text(text)
    findings = lint([str(folder / "forged.yaml"), str(folder / "a\n::error::y.yaml")])[0]
    for form in ("github", "text"):
        assert formatted(findings, form).count("\n") == 1
    assert "\n" not in str(RegardError("wrong", file="a\n::error::y"))


@pytest.mark.parametrize(
    "unknown",
    ["Mystery, [1024, 5]", "Mystery, [1024]", "CBAM, [1024, 1024]", "SPPF, [1024, five]", "C3, [1024, Flase]"],
)
def test_a_row_that_cannot_be_built_hides_no_wiring_error(unknown: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WRONG.replace("SPPF, [1024, 5]", unknown))
    (tmp_path / "b.yaml").write_text(WRONG)
    findings = lint([str(tmp_path)])[0]
    of = {name: [f for f in findings if Path(f.file).name == name] for name in ("a.yaml", "b.yaml")}
    assert [f.kind for f in of["a.yaml"]] == ["invalid", *(f.kind for f in of["b.yaml"])]
    assert [f.line for f in of["a.yaml"]][1:] == [f.line for f in of["b.yaml"]]


def test_unknown_layers_that_halve_their_maps_and_an_unknown_head_raise_no_false_alarm(tmp_path: Path) -> None:
    text = STOCK_N.replace("Conv, [512, 3, 2]", "Mystery, [512, 3, 2]").replace("Detect", "MyHead")
    (tmp_path / "a.yaml").write_text(text)
    findings = lint([str(tmp_path)])[0]
    assert [f.kind for f in findings] == ["invalid", "invalid"]
    assert "Mystery" in findings[0].message
    assert "MyHead" in findings[1].message


def test_rows_that_cannot_be_built_hide_no_others(tmp_path: Path) -> None:
    text = WRONG.replace("SPPF, [1024, 5]", "ECA, [1024, False]").replace("SE, []", "SE, [8, 8]")
    (tmp_path / "a.yaml").write_text(text.replace("[nc, anchors]", "[nc, 3, 4, 5]"))
    (tmp_path / "b.yaml").write_text(WRONG)
    findings = lint([str(tmp_path / "a.yaml")])[0]
    lines = text.split("\n")
    assert ["ECA" in lines[f.line - 1] for f in findings[:3]] == [True, False, False]
    assert [f.kind for f in findings] == ["invalid"] * 3 + ["miswired"] * 3
    assert [f.line for f in findings[3:]] == [f.line for f in lint([str(tmp_path / "b.yaml")])[0]]
    with pytest.raises(RegardError) as caught:
        load_detector(tmp_path / "a.yaml")
    assert all(f"{tmp_path / 'a.yaml'}:{f.line}: " in str(caught.value) for f in findings)
    (tmp_path / "a.yaml").write_text(STOCK_N.replace("SPPF, [1024, 5]", "ECA, [1024, False]"))
    with pytest.raises(RegardError) as caught:
        load_detector(tmp_path / "a.yaml")
    assert "wrong in this file too" not in str(caught.value)


def test_the_findings_of_a_file_are_there_before_the_next_file_is_read(folder: Path) -> None:
    found = lint_each([str(folder)])
    next(found)
    (folder / "right.yaml").write_text(WRONG)
    assert next(of for file, of, _ in found if file.name == "right.yaml")


@pytest.mark.parametrize(
    "graph", ["backbone:\n- [-1, 1, Nope, [8]]\nhead: []\n", "backbone: []\nhead:\n- [-1, 1, Nope, [8]]\n"]
)
def test_an_unknown_layer_that_reads_the_image_last_is_a_finding(graph: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"nc: 2\n{graph}")
    (finding,) = lint([str(tmp_path / "a.yaml")])[0]
    assert "Nope" in finding.message


def test_absurd_channels_take_no_time(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(STOCK_N.replace("C3, [512]]", "C3, [99999999999]]"))
    began = time.process_time()
    assert lint([str(tmp_path / "a.yaml")])[0]
    assert time.process_time() - began < 5


def test_a_graph_without_rows_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("nc: 2\nbackbone: []\nhead: []\n")
    (finding,) = lint([str(tmp_path / "a.yaml")])[0]
    assert "no rows" in finding.message
    with pytest.raises(RegardError, match="no rows"):
        load_detector(tmp_path / "a.yaml")


def test_what_is_not_there_has_no_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    (finding,) = lint([str(gone)])[0]
    assert finding.line is None
    assert formatted([finding], "text").startswith(f"{gone}: unreadable: ")
    assert "line=" not in formatted([finding], "github")
