"""From a study's record to its findings and their words."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from fake_study import HOSTILE, SEEDS, fake_study, unfinished

from regard.ablate.findings import analyse, differences
from regard.ablate.record import RunRecord, StudyRecord, Variant
from regard.ablate.verdict import Verdict
from regard.ablate.words import headline, p_value, sentences, signed

PLACE = Path("study")


def small(base: list[float], variant: list[float], control: list[float] | None = None) -> StudyRecord:
    """Return a study of one variant, with a control if its values are given; NaN marks a failed run."""
    values = {"base": base, "SE": variant} | ({"control of SE": control} if control else {})
    runs = [
        RunRecord(name, seed, "failed" if math.isnan(value) else "finished", PLACE, metrics={"ap": value})
        for name, row in values.items()
        for seed, value in enumerate(row)
    ]
    variants = [Variant("base", "base", PLACE), Variant("SE", "variant", PLACE)]
    variants += [Variant("control of SE", "capacity control", PLACE, controls="SE")] if control else []
    return StudyRecord(PLACE, "Does it?", "ap", 0.05, 0.01, variants, range(len(base)), runs)


def test_pairs_are_the_seeds_that_both_finished() -> None:
    study = small([0.1, math.nan, 0.3, 0.5], [0.2, 0.9, math.nan, 0.7])
    assert differences(study, "SE", "base") == pytest.approx({0: 0.1, 3: 0.2})
    assert analyse(study).judgements["SE"].seeds == (0, 3)


def test_a_metric_that_is_unknown_is_no_pair() -> None:
    study = small([0.1, 0.2], [0.2, 0.3])
    runs = [replace(run, metrics={"ap": math.nan}) if run.seed else run for run in study.runs]
    assert differences(replace(study, runs=runs), "SE", "base") == pytest.approx({0: 0.1})


def test_the_control_is_no_variant() -> None:
    """It takes no part in the correction, and the variant is also held against it."""
    study = small([0.3, 0.3, 0.3], [0.33, 0.331, 0.329], [0.331, 0.330, 0.332])
    findings = analyse(study)
    assert set(findings.judgements) == set(findings.beyond) == {"SE"}
    assert set(findings.controls) == {"control of SE"}
    assert findings.judgements["SE"].p == findings.judgements["SE"].p_alone
    assert findings.beyond["SE"].mean == pytest.approx(-0.001)
    assert findings.beyond["SE"].verdict is Verdict.NO_DIFFERENCE
    assert sentences(study, findings)[1].startswith("SE differs by less than 0.01 from plain convolutions")


def test_spread_is_pooled_and_tells_the_seeds_to_come() -> None:
    """Differences .01 .02 .03 (sd .01) and .01 .01 .04 (variance .0003) pool to sqrt(.0002)."""
    findings = analyse(small([0.3] * 3, [0.31, 0.32, 0.33], [0.31, 0.31, 0.34]))
    assert findings.outlook.sd == pytest.approx(math.sqrt(0.0002))
    assert findings.outlook.power < 0.5
    low, high = findings.outlook.seeds_range
    assert low is not None
    assert findings.outlook.seeds is not None
    assert low < findings.outlook.seeds < (high or 1001)


def test_the_noise_control_takes_no_part_in_the_spread() -> None:
    """Its order is its own, so that its differences spread as those of unpaired runs."""
    study = small([0.3] * 3, [0.31, 0.32, 0.33], [0.31, 0.31, 0.34])
    noise = [RunRecord("noise", s, "finished", PLACE, metrics={"ap": v}) for s, v in enumerate((0.1, 0.3, 0.5))]
    with_noise = replace(
        study, runs=[*study.runs, *noise], variants=[*study.variants, Variant("noise", "noise control", PLACE)]
    )
    assert set(analyse(with_noise).controls) == {"control of SE", "noise"}
    assert analyse(with_noise).outlook == analyse(study).outlook


@pytest.mark.parametrize(("base", "variant"), [([0.3], [0.4]), ([0.3, 0.4], [0.3, 0.4]), ([0.3], [math.nan]), ([], [])])
def test_too_little_to_tell(base: list[float], variant: list[float]) -> None:
    study = small(base, variant)
    findings = analyse(study)
    assert findings.judgements["SE"].verdict is Verdict.CANT_TELL
    assert findings.judgements["SE"].reason in sentences(study, findings)[0]
    assert math.isnan(findings.outlook.sd)
    assert findings.outlook.seeds is None
    assert headline(study, findings) == "Can't tell for SE."


def test_a_realistic_study_says_what_is_true() -> None:
    study = fake_study(PLACE)
    findings = analyse(study)
    verdicts = {name: judgement.verdict for name, judgement in findings.judgements.items()}
    assert verdicts["SE@sppf"] is Verdict.HELPS
    assert verdicts["CBAM@p4"] is Verdict.HURTS
    assert verdicts["ECA@sppf"] is Verdict.NO_DIFFERENCE
    assert findings.judgements[HOSTILE].seeds == (0, 2, 4)
    assert headline(study, findings) == (
        "SE@sppf helps; CBAM@p4 hurts; ECA@sppf makes no difference larger than 0.01 AP; can't tell for "
        f"MultiHeadSelfAttention@p5 and {HOSTILE}."
    )


def test_nothing_has_run_yet() -> None:
    findings = analyse(unfinished(fake_study(PLACE)))
    assert {judgement.verdict for judgement in findings.judgements.values()} == {Verdict.CANT_TELL}
    assert len(SEEDS) == 5


def test_small_gains_are_called_small() -> None:
    study = small([0.3] * 3, [0.3031, 0.3029, 0.3030])
    assert sentences(study, analyse(study))[0].startswith("SE helps, by less than the 0.01 that matters: +0.0030 AP")


def test_numbers() -> None:
    assert [signed(v) for v in (0.01234, -0.01234, math.nan)] == ["+0.0123", "−0.0123", "–"]
    assert [p_value(v) for v in (0.00001, 0.00123, 0.0123, 1.0)] == ["< 0.0001", "0.0012", "0.012", "1.000"]
