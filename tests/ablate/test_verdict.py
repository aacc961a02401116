"""The verdict's rule, and how a study's record leads to results and sentences."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_study import HOSTILE, SEEDS, fake_study, unfinished

from regard.ablate.digits import mean_and_interval, p_value, plain, signed
from regard.ablate.folder import RunRecord, StudyRecord, Variant
from regard.ablate.format import headline, sentences
from regard.ablate.power_text import needed_line, still_needed
from regard.ablate.report.power import detected_lines
from regard.ablate.verdict import Verdict, analyse, decide, differences, judge


def by_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


@pytest.mark.parametrize(
    ("differences", "verdict", "is_small"),
    [
        ((0.031, 0.029, 0.030), Verdict.HELPS, False),
        ((-0.031, -0.029, -0.030), Verdict.HURTS, False),
        ((0.0031, 0.0029, 0.0030), Verdict.HELPS, True),
        ((0.001, -0.001, 0.0005), Verdict.NO_DIFFERENCE, True),
        ((0.03, -0.02, 0.01), Verdict.CANT_TELL, False),
        ((0.03,), Verdict.CANT_TELL, False),
        ((), Verdict.CANT_TELL, False),
        ((0.25, 0.25, 0.25), Verdict.CANT_TELL, False),
        ((0.0, 0.0, 0.0), Verdict.CANT_TELL, False),
    ],
)
def test_rule(differences: tuple[float, ...], verdict: Verdict, is_small: bool) -> None:
    judgement = judge({"SE": by_seed(*differences)}, alpha=0.05, mde=0.01)["SE"]
    assert (judgement.verdict, judgement.is_small) == (verdict, is_small)


def test_one_variant_needs_no_correction() -> None:
    judgement = judge({"SE": by_seed(1, 2, 3)}, alpha=0.05, mde=0.1)["SE"]
    assert judgement.p == judgement.p_alone == pytest.approx(1 - math.sqrt(12 / 14))
    assert judgement.joint == judgement.interval


def test_a_variant_without_pairs_still_counts_in_the_correction() -> None:
    """p = 1 - sqrt(12/14) = .0742, alone enough at level .1, doubled not."""
    alone = judge({"SE": by_seed(1, 2, 3)}, alpha=0.1, mde=0.1)
    assert alone["SE"].verdict is Verdict.HELPS
    both = judge({"SE": by_seed(1, 2, 3), "lost": {}}, alpha=0.1, mde=0.1)
    assert both["SE"].p == pytest.approx(2 * (1 - math.sqrt(12 / 14)))
    assert both["SE"].verdict is Verdict.CANT_TELL
    assert both["SE"].joint[0] < both["SE"].interval[0] < 2 < both["SE"].interval[1] < both["SE"].joint[1]
    assert both["lost"].verdict is Verdict.CANT_TELL
    assert both["lost"].reason


def test_pairs_are_matched_by_seed() -> None:
    judgement = judge({"SE": {5: 1.0, 2: 2.0}, "ECA": {3: 1.0}}, alpha=0.05, mde=0.1)["SE"]
    assert judgement.seeds == (2, 5)
    assert judgement.differences == (2.0, 1.0)


def test_a_difference_is_a_difference_however_wide_the_margin_of_the_others() -> None:
    """Equivalence is corrected too: enough alone, not among two."""
    tight = {"a": by_seed(0.004, -0.004, 0.0)}  # t = -.01 / (.004 / sqrt 3) = -4.33, p = .0247
    assert judge(tight, 0.04, 0.01)["a"].verdict is Verdict.NO_DIFFERENCE
    assert judge(tight | {"b": by_seed(0.1, -0.3, 0.2)}, 0.04, 0.01)["a"].verdict is Verdict.CANT_TELL


def test_no_variants() -> None:
    assert judge({}, 0.05, 0.01) == {}


def test_a_margin_of_nothing_is_never_kept() -> None:
    rng = np.random.default_rng(1)
    assert Verdict.NO_DIFFERENCE not in decide(rng.normal(0, 1, (200, 3, 4)), 0.05, 0.0)


PLACE = Path("study")


def small(base: list[float], variant: list[float], control: list[float] | None = None) -> StudyRecord:
    """Return a study of one variant, with a control if its values are given; NaN marks a failed run."""
    values = {"base": base, "SE": variant} | ({"control of SE": control} if control else {})
    runs = [
        RunRecord(name, seed, "failed" if math.isnan(value) else "finished", PLACE, metrics={"ap": value})
        for name, row in values.items()
        for seed, value in enumerate(row)
    ]
    variants = [Variant("base", "base"), Variant("SE", "variant")]
    variants += [Variant("control of SE", "capacity control", controls="SE")] if control else []
    return StudyRecord(PLACE, "Does it?", "ap", 0.05, 0.01, variants, range(len(base)), runs)


def test_models_that_learned_nothing_do_not_agree() -> None:
    """0.001 cannot fall by 0.01."""
    judged = analyse(small([0.001, 0.002, 0.001], [0.002, 0.001, 0.0015])).judgements["SE"]
    assert judged.verdict is Verdict.CANT_TELL
    assert "0.001: it learned next to nothing" in judged.reason
    assert (
        analyse(small([0.101, 0.102, 0.101], [0.102, 0.101, 0.1015])).judgements["SE"].verdict is Verdict.NO_DIFFERENCE
    )
    assert analyse(small([0.001, 0.002, 0.001], [0.101, 0.103, 0.101])).judgements["SE"].verdict is Verdict.HELPS


def test_what_is_below_the_smallest_difference_has_learned_something() -> None:
    """0.03 cannot fall by 0.05, so agreement shows nothing; but it is no untrained detector."""
    study = replace(small([0.03, 0.032, 0.031], [0.031, 0.032, 0.03]), mde=0.05)
    results = analyse(study)
    judged = results.judgements["SE"]
    assert (judged.verdict, judged.obstacle, judged.untaught) == (Verdict.CANT_TELL, "low", "")
    assert "0.031, below the smallest difference that matters" in judged.reason
    assert "untaught" not in results.power.obstacles
    better = replace(small([0.03, 0.032, 0.031], [0.13, 0.132, 0.131]), mde=0.05)
    assert "learned" not in " ".join([headline(better, analyse(better)), *sentences(better, analyse(better))])


@pytest.mark.parametrize("mde", [0.0005, 0.05])
def test_a_claim_over_a_model_that_learned_nothing_says_so(mde: float) -> None:
    study = replace(small([0.004, 0.004, 0.0041], [0.061, 0.062, 0.063], [0.003, 0.0031, 0.0029]), mde=mde)
    results = analyse(study)
    assert results.judgements["SE"].verdict is Verdict.HELPS
    assert headline(study, results) == "SE helps. But the base learned next to nothing (0.004 AP)."
    lines = sentences(study, results)
    assert lines[0].endswith(" But the base learned next to nothing (0.004 AP).")
    assert lines[1].endswith(" But the control learned next to nothing (0.003 AP).")
    assert "learned next to nothing" in needed_line(study, results.power)
    assert "probability" not in detected_lines(study, results)[0]
    assert still_needed(results.judgements["SE"], results.power) == ""


@pytest.mark.parametrize(("metric", "level"), [("accuracy", 0.004), ("recall", 0.004), ("minus loss", -2.0)])
def test_nothing_is_known_of_the_metrics_of_others(metric: str, level: float) -> None:
    """An accuracy, or a negative loss, of an untrained model is not about 0; only the latter can fall by 0.01."""
    study = small([level] * 3, [level - 1e-5, level, level + 1e-5])
    runs = [replace(run, metrics={metric: run.metrics["ap"]}) for run in study.runs]
    judged = analyse(replace(study, metric=metric, runs=runs)).judgements["SE"]
    assert judged.untaught == ""
    assert judged.obstacle == ("low" if level > 0 else "")


def test_pairs_are_the_seeds_that_both_finished() -> None:
    study = small([0.1, math.nan, 0.3, 0.5], [0.2, 0.9, math.nan, 0.7])
    assert differences(study, "SE", "base") == pytest.approx({0: 0.1, 3: 0.2})
    assert analyse(study).judgements["SE"].seeds == (0, 3)


def test_a_metric_that_is_unknown_is_no_pair() -> None:
    study = small([0.1, 0.2], [0.2, 0.3])
    runs = [replace(run, metrics={"ap": math.nan}) if run.seed else run for run in study.runs]
    assert differences(replace(study, runs=runs), "SE", "base") == pytest.approx({0: 0.1})


def test_the_control_is_no_variant() -> None:
    """It takes no part in the correction, and the variant is also compared with it."""
    study = small([0.3, 0.3, 0.3], [0.33, 0.331, 0.329], [0.331, 0.330, 0.332])
    results = analyse(study)
    assert set(results.judgements) == set(results.beyond) == {"SE"}
    assert set(results.controls) == {"control of SE"}
    assert results.judgements["SE"].p == results.judgements["SE"].p_alone
    assert results.beyond["SE"].mean == pytest.approx(-0.001)
    assert results.beyond["SE"].verdict is Verdict.NO_DIFFERENCE
    assert sentences(study, results)[1].startswith("SE differs by less than 0.01 from plain convolutions")


def test_a_spread_of_few_degrees_of_freedom_is_no_estimate() -> None:
    """Two seeds of one variant: one degree of freedom, from which no number of seeds follows."""
    study = small([0.3, 0.31], [0.31, 0.325])
    results = analyse(study)
    assert results.power.obstacles == ("few_pairs",)
    assert "too few" in detected_lines(study, results)[0]
    needed = needed_line(study, results.power)
    low, high = results.power.seeds_range
    assert "uncertain" in needed
    assert f"{low} to {'more than 1,000' if high is None else high} within" in needed
    assert still_needed(results.judgements["SE"], results.power) == ""


def test_spread_is_pooled_and_gives_the_seeds_to_come() -> None:
    """Differences .01 .02 .03 (sd .01) and .01 .01 .04 (variance .0003) pool to sqrt(.0002)."""
    results = analyse(small([0.3] * 3, [0.31, 0.32, 0.33], [0.31, 0.31, 0.34]))
    assert results.power.sd == pytest.approx(math.sqrt(0.0002))
    assert results.power.power < 0.5
    low, high = results.power.seeds_range
    assert low is not None
    assert results.power.seeds is not None
    assert low < results.power.seeds < (high or 1001)


def test_the_noise_control_takes_no_part_in_the_spread() -> None:
    """Its order is its own, so that its differences spread as those of unpaired runs."""
    study = small([0.3] * 3, [0.31, 0.32, 0.33], [0.31, 0.31, 0.34])
    noise = [RunRecord("noise", s, "finished", PLACE, metrics={"ap": v}) for s, v in enumerate((0.1, 0.3, 0.5))]
    with_noise = replace(
        study, runs=[*study.runs, *noise], variants=[*study.variants, Variant("noise", "noise control")]
    )
    assert set(analyse(with_noise).controls) == {"control of SE", "noise"}
    assert analyse(with_noise).power == analyse(study).power


@pytest.mark.parametrize(("base", "variant"), [([0.3], [0.4]), ([0.3, 0.4], [0.3, 0.4]), ([0.3], [math.nan]), ([], [])])
def test_too_little_to_tell(base: list[float], variant: list[float]) -> None:
    study = small(base, variant)
    results = analyse(study)
    assert results.judgements["SE"].verdict is Verdict.CANT_TELL
    assert results.judgements["SE"].reason in sentences(study, results)[0]
    assert math.isnan(results.power.sd)
    assert results.power.seeds is None
    assert headline(study, results) == "Can't tell for SE."


def test_a_realistic_study_says_what_is_true() -> None:
    study = fake_study(PLACE)
    results = analyse(study)
    verdicts = {name: judgement.verdict for name, judgement in results.judgements.items()}
    assert verdicts["SE@sppf"] is Verdict.HELPS
    assert verdicts["CBAM@p4"] is Verdict.HURTS
    assert verdicts["ECA@sppf"] is Verdict.NO_DIFFERENCE
    assert results.judgements[HOSTILE].seeds == (0, 2, 4)
    assert headline(study, results) == (
        "SE@sppf helps; CBAM@p4 hurts; ECA@sppf makes no difference larger than 0.01 AP; can't tell for "
        f"MultiHeadSelfAttention@p5 and {HOSTILE}."
    )


def test_nothing_has_run_yet() -> None:
    results = analyse(unfinished(fake_study(PLACE)))
    assert {judgement.verdict for judgement in results.judgements.values()} == {Verdict.CANT_TELL}
    assert len(SEEDS) == 5


def test_small_gains_are_called_small() -> None:
    study = small([0.3] * 3, [0.3031, 0.3029, 0.3030])
    assert sentences(study, analyse(study))[0].startswith("SE helps, by less than the 0.01 that matters: +0.0030 AP")


def test_numbers() -> None:
    assert [signed(v) for v in (0.01234, -0.01234, math.nan)] == ["+0.0123", "−0.0123", "–"]
    assert [signed(v) for v in (-3.3e-05, 2e-17, -0.0)] == ["−0.00003", "+0.0000", "+0.0000"]
    assert mean_and_interval(-5e-18, (-0.001, 0.001)) == ("+0.0000", "−0.0010 to +0.0010")
    assert [p_value(v) for v in (0.00001, 0.00123, 0.0123, 1.0)] == ["< 0.0001", "0.0012", "0.012", "1.000"]
    assert [plain(v) for v in (0.5761, 0.00002, 0.0, -0.0)] == ["0.5761", "0.00002", "0.0000", "0.0000"]
    assert [plain(v, significant=2) for v in (0.0062, 0.00018, 2e-12)] == ["0.0062", "0.00018", "2.0e−12"]


@pytest.mark.parametrize("scale", [0.1, 1e-3, 1e-5, 1e-7, 1e-9])
def test_numbers_that_differ_look_different(scale: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        low, mean, high = sorted((rng.choice([0, 0.3]) + scale * rng.normal(0, 1, 3)).tolist())
        middle, ends = mean_and_interval(mean, (low, high))
        shown = [float(text.replace("−", "-")) for text in (ends.split(" to ")[0], middle, ends.split(" to ")[1])]
        assert shown == sorted(set(shown))
        assert 0 not in shown
    assert mean_and_interval(0.012345, (-0.01, 0.03)) == ("+0.0123", "−0.0100 to +0.0300")  # no more than are needed


def test_a_tiny_difference_and_its_interval_are_told_apart() -> None:
    study = small([0.3] * 6, [0.3 - 1e-5 - 1e-6 * seed for seed in range(6)])
    line = sentences(study, analyse(study))[0]
    mean, low, high = (float(one.replace("−", "-")) for one in re.findall(r"−0\.\d+", line))
    assert low < mean < high
    assert "0.0000019" in detected_lines(study, analyse(study))[0]  # the standard deviation
