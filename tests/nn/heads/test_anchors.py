from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regard.errors import RegardError
from regard.nn.heads.anchors import Sizes, best_possible_recall, check_anchors, fit_anchors

STOCK = np.array(
    [10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326], dtype=np.float64
).reshape(3, 3, 2)


def clustered(centres: Sizes, each: int = 41, noise: float = 0.05) -> Sizes:
    rng = np.random.default_rng(3)
    boxes: Sizes = np.repeat(centres, each, axis=0) * np.exp(rng.normal(0, noise, (len(centres) * each, 2)))
    return boxes


def test_recall_by_hand() -> None:
    anchors = np.array([[10.0, 10.0], [100.0, 50.0]])
    boxes = np.array([[10.0, 39.0], [10.0, 41.0], [3.0, 10.0], [2.0, 10.0], [399.0, 199.0], [30.0, 30.0], [2.5, 10.0]])
    # within a factor of 4 of an anchor: yes, no, yes, no, yes, yes, no (exactly 4 is not below 4)
    assert best_possible_recall(boxes, anchors) == 4 / 7
    assert best_possible_recall(boxes, anchors, threshold=6.0) == 1
    assert best_possible_recall(np.empty((0, 2)), anchors) == 1


def test_recall_against_plain_python() -> None:
    boxes = np.random.default_rng(0).uniform(1, 600, (53, 2))
    reached = sum(
        any(max(w / aw, aw / w, h / ah, ah / h) < 2 for aw, ah in STOCK.reshape(-1, 2).tolist())
        for w, h in boxes.tolist()
    )
    assert 0 < reached < 53
    assert best_possible_recall(boxes, STOCK, 2.0) == pytest.approx(reached / 53)


def test_the_fit_finds_the_clusters_smallest_first() -> None:
    centres = np.array([[300.0, 200.0], [8.0, 9.0], [20.0, 60.0], [60.0, 20.0], [90.0, 100.0], [500.0, 600.0]])
    fitted = fit_anchors(clustered(centres), levels=2)
    assert fitted.shape == (2, 3, 2)
    assert (np.diff(fitted.prod(axis=2).ravel()) >= 0).all()
    for centre in centres:
        assert np.abs(np.log(fitted.reshape(-1, 2) / centre)).max(axis=1).min() < 0.1


def test_mutation_improves_on_k_means() -> None:
    boxes = np.exp(np.random.default_rng(1).uniform(1, 6.4, (500, 2)))
    means, evolved = (fit_anchors(boxes, 2, 2, threshold=2.0, generations=g) for g in (0, 300))

    def mean_likeness(anchors: Sizes) -> float:
        best = [
            max(min(w / aw, aw / w, h / ah, ah / h) for aw, ah in anchors.reshape(-1, 2).tolist())
            for w, h in boxes.tolist()
        ]
        return sum(x for x in best if x > 1 / 2) / len(best)

    assert mean_likeness(evolved) > mean_likeness(means) + 0.01


def test_the_seed_decides() -> None:
    boxes = np.random.default_rng(0).uniform(5, 300, (211, 2))
    first, same, other = (fit_anchors(boxes, 3, seed=seed, generations=20) for seed in (5, 5, 6))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_fewer_boxes_than_anchors(count: int) -> None:
    boxes = np.random.default_rng(0).uniform(5, 300, (count, 2))
    fitted = fit_anchors(boxes, 3, generations=10)
    assert fitted.shape == (3, 3, 2)
    assert np.isfinite(fitted).all()
    assert best_possible_recall(boxes, fitted) == 1


@pytest.mark.parametrize("boxes", [np.empty((0, 2)), np.array([[1.0, 50.0], [0.0, 0.0]])])
def test_nothing_to_fit_to(boxes: Sizes) -> None:
    with pytest.raises(RegardError, match="no labelled box is large enough"):
        fit_anchors(boxes, 3)


def test_good_anchors_are_kept() -> None:
    check = check_anchors(clustered(STOCK.reshape(-1, 2)), STOCK)
    assert not check.refitted
    assert check.anchors is STOCK
    assert check.recall == check.recall_before == 1


def test_bad_anchors_are_fitted_again() -> None:
    boxes = clustered(np.array([[3.0, 3.0], [5.0, 2.5], [600.0, 40.0]]))
    check = check_anchors(boxes, STOCK)
    assert check.refitted
    assert check.recall_before < 0.98 < check.recall
    assert check.recall == best_possible_recall(boxes, check.anchors)
    assert check.anchors.shape == STOCK.shape


def test_a_fit_that_reaches_no_more_is_not_taken() -> None:
    boxes = np.array([[1.0, 1.0], [10.0, 13.0]])  # the first is below what is fitted
    check = check_anchors(boxes, STOCK)
    assert not check.refitted
    assert check.recall == 0.5


def test_stock_anchors_suit_coco(shared: Path) -> None:
    files = sorted((shared / "data" / "coco128").rglob("labels/**/*.txt"))
    rows = np.vstack([np.loadtxt(file, ndmin=2).reshape(-1, 5) for file in files if file.stat().st_size])
    assert len(rows) > 900
    assert not check_anchors(rows[:, 3:] * 640, STOCK).refitted
