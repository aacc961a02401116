"""Plans from YAML and from options, edits in one word, and what is wrong with them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from regard.ablate.folder import StudyFolder
from regard.ablate.plan import Edit, Plan, make_plan, parse_edits, parse_variant, read_plan
from regard.ablate.variants import apply_insertions, apply_replacements
from regard.config import DEFAULT_RECIPE
from regard.errors import RegardError
from regard.graph.read import read_spec

LEAST: dict[str, Any] = {"base": "yolov5n", "data": "synthetic:local", "insert": ["SE@sppf"]}


def written(folder: Path, text: str) -> Path:
    file = folder / "study.yaml"
    file.write_text(text)
    return file


def test_a_file_is_read_with_paths_next_to_it(tmp_path: Path) -> None:
    (tmp_path / "yolov5n.pt").touch()
    (tmp_path / "mine.py").touch()
    file = written(
        tmp_path,
        "base: yolov5n\nweights: yolov5n.pt\ndata: elsewhere\ninsert: SE@sppf\nmodel: [yolov5s]\n"
        "module: [mine.py:Block]\nseeds: [3, 7]\nminutes: 2\n",
    )
    plan = read_plan(file, {"imgsz": 320, "noise": None}, trust=True)
    assert plan == make_plan(
        {
            "base": "yolov5n",
            "weights": str(tmp_path / "yolov5n.pt"),
            "data": "elsewhere",
            "insert": ["SE@sppf"],
            "model": ["yolov5s"],
            "module": [f"{tmp_path / 'mine.py'}:Block"],
            "seeds": [3, 7],
            "minutes": 2,
            "imgsz": 320,
        }
    )
    assert plan.names == ("SE@sppf", "yolov5s")
    assert plan.planned_epochs is None


def test_the_modules_of_a_file_are_not_imported_unless_it_is_trusted_or_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    file = written(tmp_path, "base: yolov5n\ndata: here\nnoise: true\nmodule: mine.py:Block\n")
    with pytest.raises(RegardError, match=r":4: .*mine\.py:Block.*\n.*\n.*--trust-plan"):
        read_plan(file)
    assert read_plan(file, {"module": ["own.py"]}).module == ("own.py",)
    assert read_plan(file, trust=True).module == (f"{tmp_path / 'mine.py'}:Block",)


def test_defaults() -> None:
    plan = make_plan({**LEAST, "weights": None})
    assert (plan.seeds, plan.metric, plan.alpha, plan.mde) == ((0, 1, 2, 3, 4), "ap", 0.05, 0.01)
    assert (plan.control, plan.noise, plan.gate, plan.epoch) == ("each", False, True, "last")
    assert plan.planned_epochs == 100
    settings = make_plan({**LEAST, "train": {"precision": "bf16"}}).settings(7, 3)
    assert (settings.seed, settings.epochs, settings.patience, settings.precision) == (7, 3, 0, "bf16")
    assert settings.recipe == DEFAULT_RECIPE


@pytest.mark.parametrize(
    ("text", "line", "reported"),
    [
        ("base: a\ndata: b\nisnert: [SE@p4]\n", 3, "did you mean 'insert'"),
        ("base: a\ndata: b\ninsert:\n  - SE@p4\n  - SEp4\n", 5, "'SEp4' is not an edit"),
        ("base: a\ndata: b\ninsert:\n  - SE@p4\n  - ECA@p4\n  - SE@ p4\n", 4, "'SE@p4' is used twice"),
        ("base: a\ndata: b\ninsert:\n  - x=SE@p4\n  - y=SEp4\n", 5, "'SEp4' is not an edit"),
        ("base: a\ndata: b\ninsert:\n  - SE@p4\nreplace:\n  - x=SE@p4\n  - x=ECA@p4\n", 6, "'x' is used twice"),
        ("base: a\ndata: b\nseeds: 0\ninsert: [SE@p4]\n", 3, "seeds is"),
        ("base: a\ndata: b\nseeds: [1, 1]\ninsert: [SE@p4]\n", 3, "a list of different ones"),
        ("base: a\ndata: b\ninsert: [SE@p4]\nmetric: map\n", 4, "one of ap, ap50"),
        ("base: a\ndata: b\ninsert: [SE@p4]\n\ntrain: {seed: 3}\n", 5, "anything but seed"),
        ("base: a\ndata: b\ninsert: [SE@p4]\ntrain: {lr: 3}\n", 4, "unknown setting 'lr'"),
        ("base: a\ndata: b\ninsert: [SE@p4]\ntrain: {device: 1}\n", 4, "device auto, cpu, cuda, mps"),
        ("base: a\ndata: b\ninsert: [SE@p4]\nalpha: 2\n", 4, "below 0.5"),
        ("base: a\ndata: b\ninsert: [SE@p4]\nepochs: 3\nminutes: 3\n", None, "several budgets"),
        ("base: a\ninsert: [SE@p4]\n", None, "the plan has no 'data'"),
        ("base: a\ndata: b\n", None, "nothing to compare"),
        ("- base\n", 1, "not a plan"),
        ("base: a\nbase: b\n", 2, "repeated"),
        ("base: [\n", 1, "not valid YAML"),
    ],
)
def test_what_is_wrong_is_reported_with_its_line(tmp_path: Path, text: str, line: int | None, reported: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(RegardError) as caught:
        read_plan(file)
    assert reported in str(caught.value)
    assert caught.value.line == line
    assert caught.value.file == file


def test_a_value_from_the_command_line_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "base: a\ndata: b\ninsert: [SE@p3]\nseeds: 3\nimgsz: 31\n")
    for overrides in ({"seeds": [3, 3]}, {"seeds": ()}, {"seeds": 10**6}, {"insert": ["SE"]}):
        with pytest.raises(RegardError) as caught:
            read_plan(file, {**overrides, "imgsz": 64})
        assert (caught.value.file, caught.value.line) == (None, None)
    with pytest.raises(RegardError, match="imgsz is 31") as caught:
        read_plan(file, {"seeds": 2})
    assert (caught.value.file, caught.value.line) == (file, 5)


def test_names_are_unique_over_all_kinds() -> None:
    with pytest.raises(RegardError, match="'base' is used twice"):
        make_plan({**LEAST, "model": ["models/base.yaml"]})
    with pytest.raises(RegardError, match="'yolov5s' is used twice"):
        make_plan({**LEAST, "model": ["a/yolov5s.pt", "b/yolov5s.pt"]})


def test_a_missing_plan() -> None:
    with pytest.raises(RegardError, match="no such plan"):
        read_plan("nowhere.yaml")


def test_an_a_a_study_needs_no_variant() -> None:
    assert isinstance(make_plan({"base": "yolov5n", "data": "x", "noise": True}), Plan)


@pytest.mark.parametrize(
    ("text", "edits"),
    [
        ("SE@sppf", [Edit("SE", "sppf")]),
        (" SE (reduction = 8) @ sppf ", [Edit("SE", "sppf", {"reduction": 8})]),
        ("A(b=[1, 2], c=x)@9", [Edit("A", "9", {"b": [1, 2], "c": "x"})]),
        ("nn.Identity@head.p4_fused", [Edit("nn.Identity", "head.p4_fused")]),
        ("SE@p4+CBAM(a=1+1)@p5", [Edit("SE", "p4"), Edit("CBAM", "p5", {"a": "1+1"})]),
        ("SE()@p4", [Edit("SE", "p4")]),
    ],
)
def test_what_is_written_is_read(text: str, edits: list[Edit]) -> None:
    assert list(parse_edits(text)) == edits


@pytest.mark.parametrize("text", ["SE", "@p4", "SE@", "SE(reduction=8@p4", "SE@p4@p5", "8@p4", "SE@p4+", "SE p4"])
def test_what_says_no_edit_is_rejected(text: str) -> None:
    with pytest.raises(RegardError, match="is not an edit"):
        parse_edits(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" SE (reduction = 8) @ sppf ", "SE(reduction=8)@sppf"),
        ("small=SE(reduction=8)@sppf", "small"),
        (" self-attention.2 = SE(reduction=8)@sppf", "self-attention.2"),
    ],
)
def test_a_variant_may_have_a_name_of_its_own(text: str, name: str) -> None:
    assert parse_variant(text) == (name, (Edit("SE", "sppf", {"reduction": 8}),))


@pytest.mark.parametrize("text", ["=SE@p4", "a b=SE@p4", "a=b=SE@p4", "small=", "8=SE@p4"])
def test_what_is_no_name_is_rejected(text: str) -> None:
    with pytest.raises(RegardError, match="is not an edit"):
        parse_variant(text)


def test_options_need_names() -> None:
    with pytest.raises(RegardError, match="'8' is not an option"):
        parse_edits("SE(8)@p4")


def test_edits_are_applied_in_order() -> None:
    spec = read_spec("odd-one-out")
    inserted = apply_insertions(spec, parse_edits("SE(reduction=4)@p4+ECA@p3"), gate=False)
    assert [row.name for row in inserted.layers if row.name not in {r.name for r in spec.layers}] == ["p3.eca", "p4.se"]
    assert inserted.layer("p4.se").options == {"reduction": 4}
    assert inserted.layer("p4.se").gate is False
    assert apply_replacements(spec, parse_edits("C3TR@p4")).layer("p4").module == "C3TR"


def test_the_former_name_of_control_match(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="match is now called control_match"):
        plan = make_plan({**LEAST, "match": "flops"})
    assert plan.control_match == "flops"
    settled = {"seeds": [0], "metric": "ap", "alpha": 0.05, "mde": 0.01}
    entry = {"name": "base", "role": "base", "place": "base", "epochs": 1}
    document = {
        "format": 1,
        "question": "",
        "variants": [entry],
        "provenance": {},
        "plan": {**settled, "match": "flops"},
    }
    (tmp_path / "study.json").write_text(json.dumps(document))
    assert StudyFolder(tmp_path).read()["plan"] == {**settled, "control_match": "flops"}


def test_a_long_edit_takes_no_quadratic_time() -> None:
    began = time.process_time()
    with pytest.raises(RegardError):
        parse_edits("SE" + " " * 200_000 + "x")
    assert time.process_time() - began < 2
