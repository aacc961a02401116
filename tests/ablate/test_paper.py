"""The parts of a paper: well-formed, escaped, and never a claim beyond the verdict."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_study import HOSTILE, fake_study, unfinished
from tiny_studies import Here, tiny_plan
from typer.testing import CliRunner

from regard.ablate.folder import RunRecord, StudyRecord
from regard.ablate.format import which_improves
from regard.ablate.paper import parts, write_paper
from regard.ablate.paper.latex import escape, table
from regard.ablate.paper.published import with_results
from regard.ablate.report import Extras, build
from regard.ablate.report.forest_plot import ForestRow
from regard.ablate.report.tables import to_csv
from regard.ablate.study import run_study
from regard.ablate.verdict import Verdict, analyse
from regard.cli import app
from regard.errors import RegardError, RegardWarning

CLAIMS = ("improve", "lowers", "helps", "hurts", "better than", "worse than", "提升", "降低", "優於", "劣於")
"""Words that state an effect."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    return fake_study(tmp_path_factory.mktemp("study"))


def has_font(name: str) -> bool:
    listing = shutil.which("fc-list")
    found = subprocess.run([listing, name], capture_output=True, text=True, check=False).stdout if listing else ""
    return bool(found.strip())


def texts(study: StudyRecord) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:  # drawing takes long
        patch.setattr("regard.ablate.paper.forest_pdf", lambda *_, **__: b"%PDF")
        return {name: data.decode() for name, data in parts(study).items() if name.endswith(".tex")}


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=\.) (?=[A-Z])|(?<=。)", text)


def with_effect(study: StudyRecord, effect: float, sd: float, seed: int) -> StudyRecord:
    """The study with other results for one variant: its differences have this mean and spread."""
    rng = np.random.default_rng(seed)
    base = {run.seed: run.metrics["ap"] for run in study.runs if run.variant == "base"}

    def changed(run: RunRecord) -> RunRecord:
        if run.variant != "SE@sppf":
            return run
        return replace(run, metrics={**run.metrics, "ap": base[run.seed] + effect + float(rng.normal(0, sd))})

    return replace(study, runs=[changed(run) for run in study.runs])


@pytest.mark.parametrize("effect", [-0.05, -0.01, 0.0, 0.003, 0.01, 0.05])
@pytest.mark.parametrize("sd", [0.0005, 0.004, 0.03])
def test_no_sentence_claims_more_than_the_verdict(study: StudyRecord, effect: float, sd: float) -> None:
    for seed in range(3):
        changed = with_effect(study, effect, sd, seed)
        results = analyse(changed)
        verdict, beyond = results.judgements["SE@sppf"].verdict, results.beyond["SE@sppf"].verdict
        files = texts(changed)
        for language, (up, down, none, unknown) in {
            "en": ("improves", "lowers", "no difference larger", "can't tell"),
            "zh-TW": ("提升", "降低", "沒有大於", "無法判定"),
        }.items():
            own = [s for s in sentences(files[f"text.{language}.tex"]) if "SE@sppf" in s]
            against_base = [s for s in own if "capacity control" not in s and "容量" not in s]
            expected = {Verdict.HELPS: up, Verdict.HURTS: down, Verdict.NO_DIFFERENCE: none, Verdict.CANT_TELL: unknown}
            assert expected[verdict] in against_base[0]
            if verdict in (Verdict.CANT_TELL, Verdict.NO_DIFFERENCE):
                assert not any(claim in s for s in against_base for claim in CLAIMS), against_base
            if verdict is Verdict.CANT_TELL:
                assert len(against_base) == 2  # in the results, and again in the limitations
            if beyond in (Verdict.CANT_TELL, Verdict.NO_DIFFERENCE):
                assert not any(claim in s for s in own if s not in against_base for claim in CLAIMS)


def test_a_study_that_can_tell_nothing_claims_nothing(study: StudyRecord) -> None:
    for text in texts(unfinished(study)).values():
        body = text.partition("\\toprule")[2] or text.partition("\\begin{document}")[2] or text
        assert not [claim for claim in CLAIMS if claim in body]
    assert "preliminary" in texts(unfinished(study))["text.en.tex"]


def test_the_tables_translate_the_names_that_the_study_gave(study: StudyRecord) -> None:
    files = texts(study)
    control = next(variant for variant in study.variants if variant.controls)
    for name in ("verdicts", "costs"):
        assert escape(control.name) in files[f"{name}.tex"]
        assert escape(f"{control.controls} 的對照組") in files[f"{name}.zh-TW.tex"]
        assert "control of" not in files[f"{name}.zh-TW.tex"]


def test_each_comparison_with_a_control_is_named(study: StudyRecord) -> None:
    kept = [one for one in study.variants if one.name != "control of MultiHeadSelfAttention@p5"]
    files = texts(replace(study, variants=kept, plan={**study.plan, "control_match": "flops"}))
    compared = [s for s in sentences(files["text.en.tex"]) if "also compared" in s]
    assert compared == [
        "SE@sppf was also compared with a capacity control: plain convolutions with about as many FLOPs, at the same "
        "place."
    ]
    assert "SE@sppf 另與容量對照組比較" in files["text.zh-TW.tex"]
    assert "也無法判定" in texts(study)["text.zh-TW.tex"]  # MultiHeadSelfAttention@p5 against its control
    limits = [s for s in sentences(texts(study)["text.en.tex"]) if "against the capacity control" in s]
    assert len(limits) == 1
    assert "MultiHeadSelfAttention@p5" in limits[0]


def test_a_tiny_difference_from_a_control_is_stated_as_one(study: StudyRecord) -> None:
    control = {run.seed: run.metrics["ap"] for run in study.runs if run.variant == "control of SE@sppf"}

    def changed(run: RunRecord) -> RunRecord:
        if run.variant != "SE@sppf":
            return run
        return replace(run, metrics={**run.metrics, "ap": control[run.seed] - 2e-5 - 1e-6 * run.seed})

    files = texts(replace(study, runs=[changed(run) for run in study.runs]))
    own = [s for s in sentences(files["text.en.tex"]) if "its capacity control" in s and "SE@sppf" in s]
    assert "worse" in own[0]
    assert "by less than the 0.01 that matters" in own[0]
    assert "0.00002" in own[0]  # not -0.0000
    assert "小於有意義的最小差異" in files["text.zh-TW.tex"]


def test_what_another_program_did_not_record_is_not_stated(study: StudyRecord) -> None:
    files = texts(replace(study, plan={"epochs": 15}))
    assert "Both runs of a pair share the seed." in files["text.en.tex"]
    for word in ("augmentation of", "order of the data", "convolutions"):
        assert word not in files["text.en.tex"].partition("Methods")[2].partition("As an A/A")[0]
    assert "成對的兩次訓練共用種子。" in files["text.zh-TW.tex"]


def test_one_seed_claims_no_tests(study: StudyRecord) -> None:
    one = replace(study, seeds=(0,), runs=[run for run in study.runs if run.seed == 0])
    english, chinese = (texts(one)[f"text.{language}.tex"] for language in ("en", "zh-TW"))
    assert "t-test" not in english
    assert "Intervals cover" not in english
    assert "檢定，所有變體" not in chinese
    assert "信賴區間反映" not in chinese


def test_the_test_split_is_reported_with_its_numbers(study: StudyRecord) -> None:
    values = {"base": {0: {"ap": 0.30}, 1: {"ap": 0.40}}, "SE@sppf": {0: {"ap": 0.33}, 1: {"ap": 0.41}}}
    files = texts(replace(study, test=values))
    assert "SE@sppf +0.0200 AP (2 seeds)" in files["text.en.tex"]
    assert "SE@sppf +0.0200 AP（2 個種子）" in files["text.zh-TW.tex"]


def test_the_power_is_that_of_the_pairs_that_finished(study: StudyRecord) -> None:
    english = texts(study)["text.en.tex"]  # one variant failed for two of five seeds
    assert "With 3 paired seeds, the fewest that a variant has," in english
    whole = texts(replace(study, variants=[one for one in study.variants if one.name != HOSTILE]))["text.en.tex"]
    assert "With 5 paired seeds a true difference" in whole

    def probability(text: str) -> float:
        return float(text.partition("probability of about ")[2][:4])

    assert probability(english) < probability(whole)


def test_a_base_that_learned_nothing_is_named_whatever_the_verdicts(study: StudyRecord) -> None:
    def changed(run: RunRecord) -> RunRecord:
        return replace(run, metrics={**run.metrics, "ap": 0.001 + 1e-4 * run.seed}) if run.variant == "base" else run

    untaught = replace(study, runs=[changed(run) for run in study.runs])
    assert analyse(untaught).judgements["SE@sppf"].verdict is Verdict.HELPS
    files = texts(untaught)
    for text, caution in (
        (files["text.en.tex"], "the base learned next to"),
        (files["text.zh-TW.tex"], "什麼都沒學到"),
    ):
        claim = next(one for one in sentences(text) if "SE@sppf" in one)
        assert caution in claim  # next to the claim, and again in the limitations
        assert sum(caution in one.replace("The", "the") for one in sentences(text)) > 1
    assert "probability" not in files["text.en.tex"]


def test_a_figure_says_which_letters_it_lacks(study: StudyRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    named = replace(study, variants=[replace(study.variants[0]), replace(study.variants[1], name="細胞")])
    runs = [replace(run, variant="細胞") if run.variant == "SE@sppf" else run for run in study.runs]
    monkeypatch.setattr(
        "regard.ablate.report.forest_plot.fonts_for", lambda text: (["DejaVu Sans"], "細胞" * ("細" in text))
    )
    with pytest.warns(RegardWarning, match="細胞: forest.pdf has boxes"):
        files = parts(replace(named, runs=runs))
    assert "forest.zh-TW.pdf" not in files  # its words need the same letters
    assert r"{forest.pdf}" in files["paper.zh-TW.tex"].decode()


def test_the_chinese_document_has_a_figure_in_chinese(study: StudyRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, list[str]]] = []

    def draw(rows: Sequence[ForestRow], mde: float, axis: str, words: Callable[[str], str], *, boxes: bool) -> bytes:
        drawn.append((f"{axis} {words('worse')} {mde:g} {boxes}", [f"{row.name}: {row.note}" for row in rows]))
        return b"%PDF"

    monkeypatch.setattr("regard.ablate.paper.forest_pdf", draw)
    files = parts(study)
    assert r"{forest.zh-TW.pdf}" in files["paper.zh-TW.tex"].decode()
    assert r"{forest.pdf}" in files["paper.en.tex"].decode()
    (first, english), (second, chinese) = drawn
    assert first == "difference in AP from the base worse 0.01 True"
    assert second == "與基準模型的 AP 差異 較差 0.01 False"
    assert len(english) == len(chinese)
    assert not [
        one for one in chinese if re.search(r"helps|hurts|difference|control|base|can't", one.partition(":")[2])
    ]


def test_a_title_of_our_own_is_chinese_throughout(study: StudyRecord) -> None:
    names = [one.name for one in study.variants[1:]]
    own = replace(study, question=which_improves(names, study.metric))
    title = re.findall(r"\\title{(.*)}", texts(own)["paper.zh-TW.tex"])[0]
    assert escape("、".join(names)) in title
    assert "," not in title
    asked = replace(study, question="Is a, b better?")
    assert r"\title{Is a, b better?}" in texts(asked)["paper.zh-TW.tex"]


def recorded(study: StudyRecord, folder: Path, gpu: Callable[[RunRecord], str]) -> StudyRecord:
    """The study with a ``run.json`` in the folder of each run."""
    runs = []
    for run in study.runs:
        own = folder / f"{study.variants.index(next(v for v in study.variants if v.name == run.variant))}-{run.seed}"
        environment = {"gpu": gpu(run), "processor": "x86_64", "packages": {"regard": "0.1.0", "torch": "2.9.0"}}
        own.mkdir(parents=True)
        settings = {"device": "cuda", "precision": "bf16"}
        (own / "run.json").write_text(json.dumps({"settings": settings, "environment": environment}))
        runs.append(replace(run, folder=own))
    return replace(study, runs=runs)


def test_the_device_is_stated_as_the_runs_recorded_it(study: StudyRecord, tmp_path: Path) -> None:
    files = texts(recorded(study, tmp_path / "same", lambda _: "NVIDIA H200"))
    assert "Device of all runs: cuda (NVIDIA H200); precision: bf16. Software: regard 0.1.0" in files["text.en.tex"]
    assert "所有訓練所用的裝置：cuda (NVIDIA H200)，精度：bf16。" in files["text.zh-TW.tex"]
    several = recorded(study, tmp_path / "several", lambda run: "A" if run.variant == "ECA@sppf" else "B")
    files = texts(several)
    assert "not all trained on the same device: cuda (B); precision: bf16 / cuda (A)" in files["text.en.tex"]
    assert "In 5 pairs the two runs differ in device or software" in files["text.en.tex"]
    assert "5 組配對" in files["text.zh-TW.tex"]
    apart = texts(recorded(study, tmp_path / "apart", lambda run: f"GPU {run.seed}"))["text.en.tex"]
    assert "not all trained on the same device" in apart
    assert "the two runs differ" not in apart  # the runs of each pair were on one device


def test_without_their_records_runs_have_the_device_of_the_study(study: StudyRecord) -> None:
    hardware = {"device": "cpu", "precision": "32", "workers": 0}
    known = replace(study, provenance={**study.provenance, "hardware": hardware})
    assert "Device of all runs: cpu; precision: 32." in texts(known)["text.en.tex"]
    assert "Software when the study began: regard 0.1.0, torch 2.9.0." in texts(known)["text.en.tex"]
    others = texts(replace(known, plan={"epochs": 15}))["text.en.tex"]  # a program of its own may use another
    assert "Device" not in others
    assert "Device" not in texts(study)["text.en.tex"]


def test_a_recipe_of_ones_own_is_named_not_printed(study: StudyRecord) -> None:
    recipe = {"name": "demo", "optim": {"lr": 0.003}}
    plan = {**study.plan, "recipe": recipe, "data": "synthetic:context?train=9"}
    plan["train"] = {"device": "cpu", "freeze": ["stem", "p2"]}
    hardware = {"device": "cpu", "precision": "32", "workers": 0}
    files = texts(replace(study, plan=plan, provenance={**study.provenance, "hardware": hardware}))
    assert "recipe was demo (own values, listed in study.json), with freeze stem p2." in files["text.en.tex"]
    assert "訓練配方為 demo（自訂，數值見 study.json），並設定 freeze stem p2。" in files["text.zh-TW.tex"]
    assert "on synthetic:context with" in files["text.en.tex"]


@pytest.mark.parametrize(("mde", "words"), [(0.3, "more than 0.99"), (1e-5, "less than 0.01")])
def test_no_difference_is_certain_or_impossible_to_detect(study: StudyRecord, mde: float, words: str) -> None:
    english = texts(replace(study, mde=mde, alpha=0.01))["text.en.tex"]
    assert f"with a probability of {words}" in english


def test_report_and_paper_state_the_same_power(study: StudyRecord) -> None:
    few = replace(study, seeds=(0, 1), variants=study.variants[:2], runs=[run for run in study.runs if run.seed < 2])
    for kept in (study, few):
        power = next(section for section in build(kept, Extras()).sections if section.title == "Power")
        text = texts(kept)["text.en.tex"]
        stated = str(power).partition(" It is pooled")[0]
        for claim in ("too few to state", "would be detected with a probability of about 0."):
            assert (claim in stated) == (claim in text)
        assert (re.findall(r"about (0\.\d\d)", stated) == re.findall(r"about (0\.\d\d)", text)) or kept is few
    assert "About" not in str(power)
    assert "Probability" not in str(power)


def test_limitations_name_what_happened(study: StudyRecord) -> None:
    text = texts(study)["text.en.tex"]
    assert "2 runs failed" in text
    assert "No test split" in text
    best = replace(study, plan={**study.plan, "epoch": "best"}, provenance={"data": {"overlap": ["5 of 11 images"]}})
    assert "somewhat too high" in texts(best)["text.en.tex"]
    assert "5 of 11 images" in texts(best)["text.en.tex"]
    assert "5 of 11 images" in texts(best)["text.zh-TW.tex"]


@pytest.mark.parametrize(
    ("splits", "english", "chinese"),
    [
        ({"train": 11, "val": 7, "test": 5}, "No test split was evaluated", "沒有評估測試集"),
        ({"train": 11, "val": 7}, "There is no test split", "沒有測試集"),
        ({}, "No test split was evaluated", "沒有評估測試集"),
    ],
)
def test_a_test_split_that_was_not_evaluated_is_no_missing_one(
    study: StudyRecord, splits: dict[str, int], english: str, chinese: str
) -> None:
    data = {"splits": {name: {"images": count} for name, count in splits.items()}}
    files = texts(replace(study, provenance={"data": data}))
    assert english in files["text.en.tex"]
    assert chinese in files["text.zh-TW.tex"]


def test_a_run_without_a_number_is_named_as_a_limitation(study: StudyRecord) -> None:
    assert "no finite" not in texts(study)["text.en.tex"]
    runs = list(study.runs)
    for variant in ("base", "SE@sppf"):
        i = next(i for i, run in enumerate(runs) if run.variant == variant and run.status == "finished")
        runs[i] = replace(runs[i], metrics={**runs[i].metrics, "ap": float("nan")})
    files = texts(replace(study, runs=runs))
    assert "2 finished runs had no finite AP" in files["text.en.tex"]
    assert "有 2 次完成的訓練，AP 不是有限的數" in files["text.zh-TW.tex"]


def test_latex_is_well_formed_and_escaped(study: StudyRecord) -> None:
    for name, text in texts(study).items():
        assert HOSTILE not in text
        plain = re.sub(r"\\[\\{}%&$#_]", "", text)
        assert plain.count("{") == plain.count("}"), name
        assert not re.search(r"(?<!\\)#", text.replace("\\#", "")), name
        begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
        assert sorted(begun) == sorted(ended), name
    body = texts(study)["verdicts.tex"]
    rows = re.findall(r"^(.*) \\\\$", body, re.MULTILINE)
    assert len(rows) == 1 + 8
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {6}
    assert all(rule in body for rule in (r"\toprule", r"\midrule", r"\bottomrule"))


def test_tables_are_in_the_language_of_their_document(study: StudyRecord) -> None:
    found = texts(study)
    for name in ("verdicts", "costs"):
        english, chinese = found[f"{name}.tex"], found[f"{name}.zh-TW.tex"]
        cells = chinese.partition("\\toprule")[2].replace("tabular", "")
        assert re.findall(r"\b(?:variant|verdict|parameters|interval|seeds|helps|to)\b", cells) == []
        assert re.findall(r"(?:[a-z]{2,} ){3}", chinese) == []
        assert re.findall(r"\d[\d.,]*", english) == re.findall(r"\d[\d.,]*", chinese)
        assert f"\\input{{{name}.zh-TW.tex}}" in found["paper.zh-TW.tex"]
        assert f"\\input{{{name}.tex}}" in found["paper.en.tex"]


@pytest.mark.parametrize("text", ["\\input{/etc/passwd}", "a\n\nb", "100 %", "$x_1^2$", "a&b#c~d", "\x1b[31m", "^^5c"])
def test_no_text_is_a_command(text: str) -> None:
    found = escape(text)
    allowed = (
        r"\\(textbackslash|textless|textgreater|textbar|textasciitilde|textasciicircum|textquotedbl){}|\\[&%$#_{}]"
    )
    rest = re.sub(allowed, "", found)
    assert not re.search(r"[\\&%$#_{}~^\n]", rest)
    assert table(["x"], [[text]], caption=text, label="a").count("\n\n") == 0


def test_the_figure_is_a_pdf_that_stays_the_same(study: StudyRecord) -> None:
    first, second = parts(study)["forest.pdf"], parts(study)["forest.pdf"]
    assert first.startswith(b"%PDF")
    assert first == second
    assert b"/Subtype /Image" not in first  # drawn by lines, not by pixels


def test_the_command_writes_what_the_documents_include(tmp_path: Path) -> None:
    run_study(tiny_plan(control="none"), tmp_path / "study", executor=Here())
    done = CliRunner().invoke(app, ["paper", str(tmp_path / "study"), "-o", str(tmp_path / "paper")])
    assert done.exit_code == 0, done.output
    for language in ("en", "zh-TW"):
        document = (tmp_path / "paper" / f"paper.{language}.tex").read_text(encoding="utf-8")
        included = re.findall(r"\\(?:input|includegraphics\[.*?\]){(.*?)}", document)
        assert len(included) == 4
        assert all((tmp_path / "paper" / name).is_file() for name in included)
    text = (tmp_path / "paper" / "text.en.tex").read_text(encoding="utf-8")
    assert "odd-one-out and 1 variant of it were trained" in text
    assert "with 2 seeds" in text
    with pytest.raises(RegardError, match="no study"):
        CliRunner().invoke(app, ["paper", str(tmp_path)], catch_exceptions=False)


def test_what_an_author_wrote_is_not_replaced(
    study: StudyRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.ablate.paper.read_study", lambda _: study)
    files = write_paper(tmp_path / "study", tmp_path / "paper")
    assert write_paper(tmp_path / "study", tmp_path / "paper") == files
    text = tmp_path / "paper" / "text.en.tex"
    text.write_text("my own words")
    files[0].unlink()
    with pytest.raises(RegardError, match="not replaced"):
        write_paper(tmp_path / "study", tmp_path / "paper")
    assert text.read_text() == "my own words"
    assert not files[0].exists()  # nothing is written before all files have been looked at


def test_power_is_stated_only_where_the_spread_is_known(study: StudyRecord) -> None:
    assert "would be detected with a probability" in texts(study)["text.en.tex"]
    few = replace(study, runs=[run for run in study.runs if run.seed == 0 or run.variant in ("base", "noise")])
    two = replace(few, seeds=(0, 1), variants=study.variants[:2], runs=[run for run in study.runs if run.seed < 2])
    for kept in (few, two):
        text = texts(kept)
        assert "would be detected with" not in text["text.en.tex"]
        assert "機率約為" not in text["text.zh-TW.tex"]


def test_a_study_without_its_runs_is_read_from_its_table(study: StudyRecord, tmp_path: Path) -> None:
    published = replace(
        study, folder=tmp_path, runs=[RunRecord(r.variant, r.seed, "waiting", tmp_path / "none") for r in study.runs]
    )
    with pytest.raises(RegardError, match="finished"):
        with_results(published)
    (tmp_path / "results.csv").write_text(to_csv(study))
    assert texts(with_results(published)) == texts(study)
    for damaged in ("", "a,b\n1,2\n", "variant,seed,status\nbase,0,finished\n"):
        (tmp_path / "results.csv").write_text(damaged)
        with pytest.raises(RegardError, match=r"results\.csv"):
            with_results(published)


def test_one_is_no_plural(study: StudyRecord) -> None:
    assert "each run for 1 epoch." in texts(replace(study, plan={**study.plan, "epochs": 1}))["text.en.tex"]


def reasons(study: StudyRecord) -> dict[str, str]:
    """The sentence on one variant, and the limitations, in both languages."""
    found = texts(study)
    return {
        language: "\n".join(s for s in sentences(found[f"text.{language}.tex"]) if "SE@sppf" in s or limits in s)
        for language, limits in (("en", "would detect"), ("zh-TW", "能偵測到"))
    }


def test_every_reason_has_its_sentence_in_both_languages(study: StudyRecord) -> None:
    whole = replace(study, variants=study.variants[:2], plan={**study.plan, "epochs": 2})
    base = {run.seed: run.metrics["ap"] for run in study.runs if run.variant == "base"}

    def of(ap: Callable[[RunRecord], float], runs: Sequence[RunRecord] = study.runs) -> StudyRecord:
        kept = [
            replace(run, metrics={**run.metrics, "ap": ap(run)}) for run in runs if run.variant in ("base", "SE@sppf")
        ]
        return replace(whole, runs=kept)

    same = reasons(of(lambda run: base[run.seed] + 0.25 * (run.variant != "base")))
    untaught = reasons(of(lambda run: 0.002 + 1e-4 * (-1) ** run.seed * (run.variant != "base")))
    few = reasons(of(lambda run: run.metrics["ap"], [run for run in study.runs if run.seed == 0]))
    assert "mean AP of 0.002" in untaught["en"]
    assert "AP 為 0.002" in untaught["zh-TW"]
    for language, (pairs, spread, taught) in {
        "en": ("pair", "for every seed", "learned next to nothing"),
        "zh-TW": ("配對太少", "每個種子", "什麼都沒學到"),
    }.items():
        assert [word in few[language] for word in (pairs, spread, taught)] == [True, False, False]
        assert [word in same[language] for word in (spread, taught)] == [True, False]
        assert [word in untaught[language] for word in (taught, spread)] == [True, False]
        for text in (same[language], untaught[language]):
            assert "Too few pairs" not in text
            assert "配對太少" not in text
            assert "5 組，至少" not in text


def test_the_budget_is_named_as_it_was_given(study: StudyRecord) -> None:
    kept = [replace(one, epochs=12 + k % 3) for k, one in enumerate(study.variants)]
    minutes = texts(replace(study, plan={**study.plan, "epochs": None, "minutes": 10.0}, variants=kept))
    assert "10 minutes of training" in minutes["text.en.tex"]
    assert "12 to 14 epochs" in minutes["text.en.tex"]
    assert "10 分鐘" in minutes["text.zh-TW.tex"]
    assert "12 至 14 個 epoch" in minutes["text.zh-TW.tex"]
    same = [replace(one, epochs=4) for one in study.variants]
    images = texts(replace(study, plan={**study.plan, "epochs": None, "images": 64}, variants=same))
    assert "64 training images (rounded up to 4 epochs)" in images["text.en.tex"]
    assert "64 張訓練影像（進位為 4 個 epoch）" in images["text.zh-TW.tex"]


def test_documents_choose_fonts_for_the_letters_of_names(study: StudyRecord) -> None:
    plain = texts(study)["paper.en.tex"]
    assert "pdflatex" in plain.splitlines()[0]
    assert "xeCJK" not in plain
    for name, font in {"血球": "Noto Serif CJK TC", "αβ": "DejaVu Serif"}.items():
        text = texts(replace(study, plan={**study.plan, "data": name}))["paper.en.tex"]
        assert font in text.splitlines()[0]
        assert "set" in text[text.index(f"{{{font}}}") :]
    assert all(r"\tracinglostchars=3" in texts(study)[f"paper.{language}.tex"] for language in ("en", "zh-TW"))


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "zh-TW"])
def test_names_in_other_letters_compile_or_fail(study: StudyRecord, tmp_path: Path, language: str) -> None:
    if shutil.which("xelatex") is None or not has_font("Noto Serif CJK TC") or not has_font("DejaVu Serif"):
        pytest.skip("needs xelatex and its fonts")
    for data, works in (("血球 αβ", True), ("cells \N{ROBOT FACE}", False)):
        for name, content in parts(replace(study, plan={**study.plan, "data": data})).items():
            (tmp_path / name).write_bytes(content)
        command = ["xelatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", f"paper.{language}.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
        if "xeCJK.sty' not found" in done.stdout:
            pytest.skip("needs the package xeCJK")
        log = (tmp_path / f"paper.{language}.log").read_text(encoding="utf-8", errors="replace")
        assert (done.returncode == 0) is works, done.stdout[-2000:]
        assert ("Missing character" in log) is not works


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "language"), [("pdflatex", "en"), ("xelatex", "en"), ("xelatex", "zh-TW")])
def test_latex_compiles(study: StudyRecord, tmp_path: Path, engine: str, language: str) -> None:
    if shutil.which(engine) is None or (language != "en" and not has_font("Noto Serif CJK TC")):
        pytest.skip(f"needs {engine}, and for Chinese its font")
    for name, data in parts(study).items():
        (tmp_path / name).write_bytes(data)
    command = [engine, "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", f"paper.{language}.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    if language != "en" and "xeCJK.sty' not found" in done.stdout:
        pytest.skip("needs the package xeCJK")
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / f"paper.{language}.log").read_text(encoding="utf-8", errors="replace")
    assert "Missing character" not in log
    assert "Overfull" not in log
