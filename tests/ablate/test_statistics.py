"""Paired t, TOST, Holm, power and image bootstrap against hand computation, SciPy, COCO and 1,000 simulated studies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.stats import binom

from regard.ablate.statistics import draw_images, estimate, holm, image_interval, power, seeds_needed
from regard.ablate.verdict import Verdict, decide
from regard.data.dataset import Sample
from regard.evaluation.coco import coco_evaluate
from regard.evaluation.matching import match_classes, weighted_ap
from regard.types import Detections

NAN = math.nan


def test_interval_and_p_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, sd 1, error 1/sqrt(3), t = 3.4641 with 2 degrees; tables give t(.975, 2) = 4.3027.

    With 2 degrees the distribution is closed: P(T > t) = (1 - t / sqrt(t^2 + 2)) / 2, so p = 1 - sqrt(12 / 14).
    """
    paired = estimate(np.array([1.0, 2.0, 3.0]))
    assert paired.mean == pytest.approx(2)
    assert paired.sd == pytest.approx(1)
    assert paired.interval(0.95) == pytest.approx((2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), abs=1e-5)
    assert paired.p_difference() == pytest.approx(1 - math.sqrt(12 / 14))


def test_equivalence_by_hand() -> None:
    """Differences -1, 0, 2 within 5: mean 1/3, sd sqrt(7/3); the nearer margin is 5, t = (1/3 - 5) / (sd / sqrt(3)).

    t^2 = (14/3)^2 / (7/9) = 28, so p = (1 - sqrt(28 / 30)) / 2.
    """
    assert estimate(np.array([-1.0, 0.0, 2.0])).p_equivalence(5) == pytest.approx((1 - math.sqrt(28 / 30)) / 2)
    assert estimate(np.array([1.0, 0.0, -2.0])).p_equivalence(5) == pytest.approx((1 - math.sqrt(28 / 30)) / 2)
    assert estimate(np.array([-1.0, 0.0, 2.0])).p_equivalence(0) > 0.5


def test_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(0.3, 1, (7, 5))
    paired = estimate(differences)
    for i, row in enumerate(differences):
        expected = stats.ttest_1samp(row, 0)
        assert paired.p_difference()[i] == pytest.approx(expected.pvalue)
        interval = expected.confidence_interval(0.9)
        assert [end[i] for end in paired.interval(0.9)] == pytest.approx([interval.low, interval.high])
        sides = [stats.ttest_1samp(row, 1.1, alternative="less"), stats.ttest_1samp(row, -1.1, alternative="greater")]
        assert paired.p_equivalence(1.1)[i] == pytest.approx(max(side.pvalue for side in sides))


def test_missing_pairs_count_for_nothing() -> None:
    full, holed = estimate(np.array([1.0, 2.0, 3.0])), estimate(np.array([1.0, NAN, 2.0, 3.0, NAN]))
    assert [*map(float, (holed.pairs, holed.mean, holed.sd))] == pytest.approx([3, float(full.mean), float(full.sd)])
    assert holed.p_difference() == full.p_difference()


@pytest.mark.parametrize("row", [[], [NAN, NAN], [0.5, NAN], [0.25, 0.25], [0.0, 0.0, 0.0], [0.1, 0.1 + 1e-16]])
def test_without_spread_nothing_is_known(row: list[float]) -> None:
    paired = estimate(np.array(row))
    assert np.isnan(paired.interval(0.95)).all()
    assert [float(paired.p_difference()), float(paired.p_equivalence(9))] == [1, 1]


def test_holm_by_hand() -> None:
    """Sorted .005 .01 .03 .04 times 4 3 2 1 is .02 .03 .06 .04; never below an earlier one: .02 .03 .06 .06."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1, 1])
    assert holm(np.array([0.02])) == pytest.approx([0.02])
    assert holm(np.zeros((3, 0))).shape == (3, 0)


@pytest.mark.parametrize("pairs", [2, 3, 5, 20, 200])
@pytest.mark.parametrize("tests", [1, 6])
def test_power_is_that_of_the_noncentral_t(pairs: int, tests: int) -> None:
    shift, threshold = 0.01 * np.sqrt(pairs) / 0.007, stats.t.ppf(1 - 0.05 / tests / 2, pairs - 1)
    expected = stats.nct.sf(threshold, pairs - 1, shift) + stats.nct.cdf(-threshold, pairs - 1, shift)
    assert power(0.01, 0.007, pairs, 0.05, tests) == pytest.approx(expected, abs=1e-9)
    assert power(-0.01, 0.007, pairs, 0.05, tests) == pytest.approx(expected, abs=1e-9)


def test_power_without_difference_is_the_level() -> None:
    assert power(0, 0.007, 5, 0.05) == pytest.approx(0.05)


@pytest.mark.parametrize(("difference", "sd", "pairs", "expected"), [(0.01, 0, 3, 1), (0, 0, 3, 0), (9, 1, 1, 0)])
def test_edges(difference: float, sd: float, pairs: int, expected: float) -> None:
    assert power(difference, sd, pairs, 0.05) == expected


def test_seeds_from_the_textbook() -> None:
    """Cohen 1988: a paired effect of 0.5 standard deviations at level .05 with power .8 takes 34 pairs."""
    assert seeds_needed(0.5, 1, 0.05) == 34
    assert power(0.5, 1, 34, 0.05) >= 0.8 > power(0.5, 1, 33, 0.05)


def test_seeds_beyond_count() -> None:
    assert seeds_needed(0.001, 1, 0.05) is None
    assert seeds_needed(0.01, 0, 0.05) == 2


SIZE = (97, 211)
CLASSES = 3


class _NoImage:
    name = "none"

    def read(self) -> NDArray[np.uint8]:
        return np.zeros((*SIZE, 3), np.uint8)


def _fraction(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = corners[:, :2], corners[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1) / (SIZE[1], SIZE[0], SIZE[1], SIZE[0])


def scenes(seed: int, images: int, with_crowds: bool) -> tuple[list[Sample], list[Detections]]:
    """Return labels, and detections that sit more or less on them; the first image has neither."""
    rng = np.random.default_rng(seed)
    records, found = [], []
    for i in range(images):
        count = int(rng.integers(0, 7)) * (i > 0)
        low = rng.uniform(0, 60, (count, 2))
        boxes = np.concatenate([low, low + rng.uniform(9, 35, (count, 2))], axis=1)
        ids = rng.integers(0, CLASSES, count)
        crowd = rng.uniform(size=count) < 0.3 if with_crowds else None
        records.append(Sample(_NoImage(), _fraction(boxes), ids, i + 1, crowd=crowd))
        picked = rng.integers(0, max(count, 1), 11 if count else 0)
        guesses = boxes[picked] + rng.uniform(-4, 4, (len(picked), 4))
        guessed_ids = np.where(rng.uniform(size=len(picked)) < 0.8, ids[picked], rng.integers(0, CLASSES, len(picked)))
        scores = rng.integers(1, 12, len(picked)) / 12  # many are equal
        found.append(Detections(guesses.astype(np.float32), scores.astype(np.float32), guessed_ids, image_size=SIZE))
    return records, found


@pytest.mark.parametrize("with_crowds", [False, True])
@pytest.mark.parametrize("seed", [2, 3, 5])
def test_ap_is_that_of_coco(seed: int, with_crowds: bool) -> None:
    records, found = scenes(seed, 13, with_crowds)
    expected = coco_evaluate(found, records, CLASSES)
    matches, once = match_classes(found, records, CLASSES), np.ones((1, 13), dtype=np.int64)
    assert 0.1 < expected.ap() < 0.9
    assert weighted_ap(matches, once) == pytest.approx(expected.ap(), abs=1e-12)
    assert weighted_ap(matches, once, slice(1)) == pytest.approx(expected.ap(iou=0), abs=1e-12)
    assert weighted_ap(matches, once, slice(5, 6)) == pytest.approx(expected.ap(iou=5), abs=1e-12)


def test_a_weight_is_a_number_of_copies() -> None:
    records, found = scenes(7, 11, with_crowds=True)
    found = [_untied(image, i) for i, image in enumerate(found)]  # the order of equal scores depends on the copies'
    weights = draw_images(11, 5)
    copies = [np.repeat(np.arange(11), row) for row in weights]
    expected = [coco_evaluate(_pick(found, own), _pick(records, own), CLASSES).ap() for own in copies]
    assert weighted_ap(match_classes(found, records, CLASSES), weights) == pytest.approx(expected, abs=1e-12)


def _untied(image: Detections, index: int) -> Detections:
    scores = image.scores + (np.arange(len(image)) + 20 * index).astype(np.float32) * 1e-5
    return Detections(image.boxes_xyxy, scores, image.class_ids, image_size=SIZE)


def _pick(values: Sequence[Any], indices: NDArray[np.int64]) -> list[Any]:
    return [values[i] for i in indices]


def test_only_the_hundred_best_count() -> None:
    """The right detection of the only label is the 101st, and then the 100th."""
    box = np.array([[100.0, 40.0, 130.0, 60.0]])
    records = [Sample(_NoImage(), _fraction(box), np.array([0]), 1)]
    boxes = np.repeat(np.array([[0, 0, 9, 9]], dtype=np.float32), 101, axis=0)
    boxes[-1] = box
    for first, expected in ((0, 0.0), (1, 0.01)):
        scores = np.linspace(0.9, 0.1, 101, dtype=np.float32)[first:]
        found = Detections(boxes[first:], scores, np.zeros(101 - first, np.int64), image_size=SIZE)
        ap = weighted_ap(match_classes([found], records, 1), np.ones((1, 1), dtype=np.int64))
        assert ap == pytest.approx(expected)


def test_without_labels_or_detections() -> None:
    records, found = scenes(2, 3, with_crowds=False)
    matches = match_classes(found, records, CLASSES)
    assert np.isnan(weighted_ap(matches, np.array([[4, 0, 0], [0, 0, 0]]))).all()
    nothing = [
        Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), image_size=SIZE)
    ]
    assert weighted_ap(match_classes(nothing * 3, records, CLASSES), np.array([[1, 1, 1]])) == 0


def test_draws_are_of_all_images_and_the_same_each_time() -> None:
    weights = draw_images(17, 50)
    assert (weights.sum(axis=1) == 17).all()
    assert (weights == draw_images(17, 50)).all()
    assert not (weights == draw_images(17, 50, seed=1)).all()


def test_interval_by_hand() -> None:
    """The metric is the mean of a value per image: the interval of its difference is known from the normal."""
    values = np.random.default_rng(0).normal(0.02, 0.1, 401)
    variant = np.stack([draw_images(401, 4000) @ values / 401] * 3)
    low, high = image_interval(variant, np.zeros_like(variant), 0.95)
    error = values.std() / np.sqrt(401)
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.1 * error)


def test_pairing_takes_out_what_both_share() -> None:
    base = np.random.default_rng(0).normal(0, 1, (2, 101))
    assert image_interval(base + 0.01, base, 0.9) == pytest.approx((0.01, 0.01))


def test_draws_without_labels_are_left_out() -> None:
    variant = np.array([[0.2, np.nan, 0.4]])
    assert image_interval(variant, np.zeros((1, 3)), 1.0) == pytest.approx((0.2, 0.4))


def test_no_interval_without_pairs_or_labels() -> None:
    assert np.isnan(image_interval(np.zeros((0, 7)), np.zeros((0, 7)), 0.9)).all()
    assert np.isnan(image_interval(np.full((1, 7), np.nan), np.zeros((1, 7)), 0.9)).all()


STUDIES = 1000
ALPHA = 0.05
MDE = 0.01
MOST = binom.ppf(0.99, STUDIES, ALPHA)
"""Errors in 1,000 that 99 % of honest procedures stay within: 67."""
SIZES = [(variants, seeds) for variants in (1, 2, 3, 6) for seeds in (3, 5)]


def simulate(effects: NDArray[np.float64], seeds: int, sd: tuple[float, float] = (0.005, 0.01)) -> NDArray[np.float64]:
    """Return paired differences (studies, variants, seeds)."""
    rng = np.random.default_rng((len(effects), seeds))
    spread = rng.uniform(*sd, (STUDIES, len(effects), 1))
    base_share = 0.6 * sd[0]
    base = rng.normal(0, base_share, (STUDIES, 1, seeds))
    own = rng.normal(0, np.sqrt(spread**2 - base_share**2), (STUDIES, len(effects), seeds))
    return effects[None, :, None] + own - base


@pytest.mark.parametrize(("variants", "seeds"), SIZES)
def test_false_differences(variants: int, seeds: int) -> None:
    verdicts = decide(simulate(np.zeros(variants), seeds), ALPHA, MDE)
    assert np.isin(verdicts, (Verdict.HELPS, Verdict.HURTS)).any(axis=1).sum() <= MOST


@pytest.mark.parametrize(("variants", "seeds"), SIZES)
def test_false_differences_next_to_real_ones(variants: int, seeds: int) -> None:
    """Real effects are often found, which loosens the thresholds of the rest; a wrong sign is an error too."""
    effects = np.where(np.arange(variants) % 2, 0.05, 0.0)
    verdicts = decide(simulate(effects, seeds), ALPHA, MDE)
    wrong = np.where(effects > 0, verdicts == Verdict.HURTS, np.isin(verdicts, (Verdict.HELPS, Verdict.HURTS)))
    assert wrong.any(axis=1).sum() <= MOST


@pytest.mark.parametrize(("variants", "seeds"), SIZES)
def test_false_equivalence(variants: int, seeds: int) -> None:
    """At the margin itself the error is greatest; every other variant has no effect and may be called equivalent."""
    effects = np.where(np.arange(variants) % 2, 0.0, -MDE)
    verdicts = decide(simulate(effects, seeds, (0.001, 0.01)), ALPHA, MDE)
    assert (verdicts[:, effects != 0] == Verdict.NO_DIFFERENCE).any(axis=1).sum() <= MOST


@pytest.mark.parametrize(("variants", "seeds"), SIZES)
def test_intervals_cover(variants: int, seeds: int) -> None:
    effects = np.linspace(-0.02, 0.03, variants)
    paired = estimate(simulate(effects, seeds))

    def misses(level: float) -> NDArray[np.bool_]:
        low, high = paired.interval(level)
        return (effects < low) | (effects > high)

    assert misses(1 - ALPHA).sum(axis=0).max() <= MOST
    assert misses(1 - ALPHA / variants).any(axis=1).sum() <= MOST


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_power_comes_true(seeds: int) -> None:
    """Of one variant just as often as predicted, of the first of four at least as often; within the 99 % bounds."""
    for variants in (1, 4):
        predicted = float(power(MDE, 0.007, seeds, ALPHA, variants))
        helps = decide(simulate(np.full(variants, MDE), seeds, (0.007, 0.007)), ALPHA, MDE) == Verdict.HELPS
        assert helps[:, 0].sum() >= binom.ppf(0.005, STUDIES, predicted)
        assert variants > 1 or helps[:, 0].sum() <= binom.ppf(0.995, STUDIES, predicted)


def test_more_seeds_settle_more() -> None:
    effects = np.array([0.02, 0.0, -0.02])
    few, many = (decide(simulate(effects, seeds), ALPHA, MDE) for seeds in (3, 10))
    right = np.array([Verdict.HELPS, Verdict.NO_DIFFERENCE, Verdict.HURTS])
    assert ((many == right).mean(axis=0) > (few == right).mean(axis=0) + 0.2).all()
    assert (few == Verdict.CANT_TELL).mean() > 0.4


def test_the_power_is_a_number_far_in_the_tail() -> None:
    found = power(0.01, 0.0009, np.arange(2, 1001), 0.05, 4)
    assert not np.isnan(found).any()
    assert (np.diff(found) >= -1e-9).all()
