"""The verdict's rule, and what it does with studies that are too small, incomplete or without spread."""

from __future__ import annotations

import math

import numpy as np
import pytest

from regard.ablate.verdict import Verdict, decide, judge


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


def test_pairs_are_told_by_seed() -> None:
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
