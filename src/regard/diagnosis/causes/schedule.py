"""Causes in how the run learned: warm-up, learning rate, number of updates, end."""

from __future__ import annotations

import math
from itertools import accumulate

from regard.config import OptimSettings
from regard.diagnosis.case import Case
from regard.diagnosis.findings import Finding, NotChecked
from regard.diagnosis.record import TrainingRecord, described_torn
from regard.training.optim import Length
from regard.training.optim import schedule as rates_at

MOST_WARM_UP = 0.5
"""Fraction of a training from which on a warm-up is too long."""
USUAL_LR = {"sgd": 0.01, "musgd": 0.01, "rmsprop": 0.003} | dict.fromkeys(
    ("adam", "adamw", "adamax", "nadam", "radam"), 0.001
)
"""Learning rates for updates of ``USUAL_BATCH`` images, as the packages' documentation advises; for RMSprop, 0.001 and
0.01 are both in use."""
USUAL_BATCH = 64
FAST, SLOW = 8.0, 1 / 30
"""Multiples of the usual rate from which on a rate is out of proportion."""
FEWEST_UPDATES = 300
"""Updates of the weights below which gradients of fewer images each would do more."""
FEWEST_BATCHES = 100
"""Updates below which a training is too short, even with one for each batch."""
MOST_STEPS = 50_000
"""Steps whose updates are counted one by one; those of a longer run are estimated from them."""
USUAL_EPOCHS = 100
"""Epochs that are usual for a small data set: the default of Ultralytics' package, and the patience of all three."""
GOOD_AP = 0.3
"""AP of a detector that has learned: the published ones of the smallest sizes have as much on COCO."""
LEAST_AP = 0.002
"""AP below which a detector has found nothing."""
LEAST_FALL = 0.02
"""Best AP from which on a fall is one: smaller ones change by half from epoch to epoch."""
COLLAPSE = 0.5
"""Part of the best AP below which it has collapsed."""
JUMP = 2.0
"""Multiple of the lowest loss above which it has jumped."""
MOST_BAD = 0.1
"""Part of the epochs in which a loss that recovers may be no finite number."""
LEAST_AFTER = 2
"""Epochs that must confirm a collapse or a jump."""
MOST_RISE = 0.1
"""Part of the best AP that may be gained in the last third of the epochs, or in their second half if few updates are no
fault."""
LEAST_VALUES = 3
AT_ITS_END = 0.1
"""Part of the learning rate at which little more is learned."""
EARLY = 0.75
"""Fraction of the planned epochs below which the learning rate is still far from its end."""


def diverged(case: Case) -> Finding | None:
    """A loss that is not a finite number, an AP that collapsed, or a loss that jumped."""
    found = _not_finite(case) or _collapsed(case) or _jumped(case)
    if found is None and (case.run.unmeasured or not case.run.rows):
        raise NotChecked(case.run.unmeasured or "no epoch is finished")
    return found


def _not_finite(case: Case) -> Finding | None:
    """A loss that is no finite number up to the end, or in many epochs; one that recovered at once is no cause."""
    names = dict.fromkeys(name for row in case.run.rows for name in row if "loss" in name or name.startswith("train/"))
    advice = "lower the learning rate, or train in float32; then look for boxes that are not finite"
    found: list[tuple[int, Finding]] = []
    for name in names:
        values = [(int(row["epoch"]), row[name]) for row in case.run.rows if name in row]
        bad = [epoch for epoch, value in values if not math.isfinite(value)]
        good = max((epoch for epoch, value in values if math.isfinite(value)), default=0)
        since = next(((epoch, value) for epoch, value in values if epoch > good), None)
        if since is not None:
            evidence = f"{name} is {since[1]} from epoch {since[0]} on"
            found.append((since[0], Finding("diverged", "likely", evidence, advice)))
        elif len(bad) > max(MOST_BAD * len(values), 1):
            evidence = f"{name} is no finite number in {len(bad)} of {len(values)} epochs, first in epoch {bad[0]}"
            found.append((bad[0], Finding("diverged", "possible", evidence, advice)))
    return min(found, key=lambda pair: pair[0], default=(0, None))[1]


def _collapsed(case: Case) -> Finding | None:
    """AP that fell by more than half, or is no number any more, and did not recover."""
    values, best = case.run.values("ap"), case.run.best
    if best is None or best[1] < LEAST_FALL:
        return None
    lost = [int(row["epoch"]) for row in case.run.rows if row["epoch"] > values[-1][0] and "ap" in row]
    high = max(epoch for epoch, ap in values if ap >= COLLAPSE * best[1])
    low = [ap for epoch, ap in values if epoch > high]
    advice = "lower the learning rate, lengthen the warm-up, or train in float32; use the weights of the best epoch"
    if len(lost) >= LEAST_AFTER:
        evidence = f"AP is no number from epoch {lost[0]} on, after {best[1]:.3f} in epoch {best[0]}"
    elif len(low) >= LEAST_AFTER:
        evidence = f"AP fell from {best[1]:.3f} in epoch {best[0]} to {max(low):.3f} or less from epoch {high + 1} on"
    else:
        return None
    return Finding("diverged", "likely", evidence, advice)


def _jumped(case: Case) -> Finding | None:
    """A training loss that jumped to a multiple and never came back."""
    names = [name for name in (case.run.rows[0] if case.run.rows else ()) if name.startswith("train/")]
    totals = [(int(row["epoch"]), sum(row[name] for name in names if name in row) + 0.0) for row in case.run.rows]
    lowest_before = list(accumulate(totals, _lower))
    lowest_after = list(accumulate((loss for _, loss in reversed(totals)), min))[::-1]
    for i in range(1, len(totals) - LEAST_AFTER + 1):
        before, after = lowest_before[i - 1], lowest_after[i]
        if 0 < before[1] * JUMP < after:
            evidence = (
                f"the training loss rose from {before[1]:.3g} in epoch {before[0]} to {after:.3g} or more from epoch "
                f"{totals[i][0]} on"
            )
            return Finding("diverged", "likely", evidence, "lower the learning rate, or clip the gradients")
    return None


def _lower(one: tuple[int, float], other: tuple[int, float]) -> tuple[int, float]:
    return one if one[1] <= other[1] else other


def no_ap(case: Case) -> Finding | None:
    """A run whose AP is zero, or was never measured, whatever the cause."""
    run, best = case.run, case.run.best
    if best is None and run.unmeasured:
        raise NotChecked(run.unmeasured)
    if not run.rows:
        evidence = "no epoch is finished, and there are no weights"
        return Finding("no_ap", "likely", evidence, "read the messages of the training, and start it again")
    if best is None:
        evidence = f"AP is no number in all of the {len(run.rows)} epochs"
        advice = "check that val has images with boxes, and that the training validates"
        return Finding("no_ap", "likely", evidence, advice)
    if best[1] >= LEAST_AP:
        return None
    evidence = f"AP is {best[1]:.3f} at best in {len(run.rows)} epochs: no object is detected, or none that is labelled"
    advice = (
        "look at the labels drawn on the images, and let the model learn ten images by heart: if it cannot, labels, "
        "classes or weights are wrong, else it needs more epochs"
    )
    return Finding("no_ap", "likely", evidence, advice)


def warm_up(case: Case) -> Finding | None:
    """A warm-up that is as long as the training, or takes more than half of it."""
    run, schedule = case.run, case.run.schedule
    epochs = min(schedule.warmup_epochs, run.epochs - 1) if schedule.ends_before_last else schedule.warmup_epochs
    wanted, total = round(epochs * case.steps), case.steps * run.epochs
    steps = max(wanted, schedule.warmup_min_steps)
    if steps <= MOST_WARM_UP * total:
        return None
    evidence = f"the warm-up takes {steps} steps of the {total} in {run.epochs} epochs ({case.steps} per epoch)"
    advice = "train for more epochs, use smaller batches, or set a shorter warm-up (warmup_epochs)"
    if wanted <= schedule.warmup_min_steps:
        evidence += f"; its smallest length is {steps} steps"
        advice = "train for more epochs, or use smaller batches: fewer epochs of warm-up would not make it shorter"
        if run.package == "regard":
            advice = "train for more epochs, use smaller batches, or set a shorter warm-up (warmup_min_steps)"
    if steps >= total:
        evidence += "; the learning rate never reached its value"
    return Finding("warm_up", "likely" if steps >= total else "possible", evidence, advice)


def learning_rate(case: Case) -> Finding | None:
    """A learning rate far from what is usual for the optimiser and the number of images per update."""
    run, schedule = case.run, case.run.schedule
    if schedule.optimizer == "auto":
        return None  # the package chooses the usual rate
    usual = USUAL_LR.get(schedule.optimizer)
    if usual is None:
        raise NotChecked(f"the optimizer {schedule.optimizer!r:.40} has no usual learning rate")
    if not run.batch:
        raise NotChecked("the number of images per step is unknown")
    images = max(run.batch, schedule.nominal_batch)
    usual *= math.sqrt(images / USUAL_BATCH)
    if SLOW <= schedule.lr / usual <= FAST:
        return None
    evidence = f"learning rate {schedule.lr:g} with {schedule.optimizer} and {images} images per update"
    advice = f"about {usual:.2g} is usual there"
    return Finding("learning_rate", "likely", evidence, advice)


def few_updates(case: Case) -> Finding | None:
    """Weights that changed only a few times, in a short training or as gradients were gathered over many images."""
    run, schedule = case.run, case.run.schedule
    updates, gathered = _updates(case)
    if updates >= (FEWEST_UPDATES if gathered > 1 else FEWEST_BATCHES) or _has_learned_early(run):
        return None
    if gathered > 1:
        evidence = (
            f"gradients are gathered over up to {gathered} batches (nominal batch {schedule.nominal_batch}), so the "
            f"weights changed about {updates} times in {run.epochs} epochs"
        )
        advice = "train for more epochs, or update after every batch (nominal batch)"
    else:
        evidence = f"the weights changed only {updates} times in {run.epochs} epochs (steps per epoch: {case.steps})"
        advice = "train for more epochs, or use smaller batches"
    return Finding("few_updates", "possible", evidence, advice)


def _has_learned_early(run: TrainingRecord) -> bool:
    """Whether a usual number of epochs was enough: AP is good, and was nearly as good after half of them.

    On a small data set the usual number of epochs makes few updates, which is no fault if more would not have raised
    AP. A flat end does not show that, as the learning rate falls to zero and flattens any curve. A flat second half
    does: in the middle the rate is still half of its value, so weights that needed more updates would have gone on
    improving. A low AP that is flat may be one that few updates cannot leave.
    """
    half = [ap for epoch, ap in run.values("ap") if 2 * epoch <= run.finished]
    if run.best is None or not half or run.finished < USUAL_EPOCHS:
        return False
    return run.best[1] >= GOOD_AP and max(half) >= (1 - MOST_RISE) * run.best[1]


def _updates(case: Case) -> tuple[int, int]:
    """How often the weights changed, and the most batches over which gradients were gathered, from 1 in the warm-up."""
    run, schedule = case.run, case.run.schedule
    length = Length(case.steps, run.epochs, run.batch)
    optim = OptimSettings(
        nominal_batch=schedule.nominal_batch,
        warmup_epochs=schedule.warmup_epochs,
        warmup_min_steps=schedule.warmup_min_steps,
        whole_epochs=schedule.ends_before_last,
    )
    total = length.steps * length.epochs
    counted, made, gathered, most = min(total, MOST_STEPS), 0, 0, 1
    for step in range(counted):
        gathered += 1
        accumulate = rates_at(step, optim, length).accumulate
        most = max(most, accumulate)
        is_last = run.package == "regard" and step % length.steps == length.steps - 1
        if gathered >= accumulate or is_last:
            made, gathered = made + 1, 0
    return made * total // counted, most


def early_stop(case: Case) -> Finding | None:
    """A run that ended long before its planned end, when its learning rate was still high."""
    run = case.run
    if not run.rows:
        raise NotChecked(run.unmeasured or "no epoch is finished")
    if run.finished >= EARLY * run.epochs:
        return None
    best = run.best
    evidence = f"{run.finished} of {run.epochs} epochs are in the table"
    evidence += described_torn(run)
    if best and run.patience and run.finished - best[0] - run.patience in (0, 1):  # packages count from 0 or 1
        evidence += f"; it stopped as no epoch was better than epoch {best[0]} for {run.patience} epochs (patience)"
        left = _rate_left(run)
        if left is not None:
            evidence += f"; the learning rate was at {left:.0%} of its value after the warm-up"
        advice = "plan fewer epochs, so that the learning rate falls to its end in time, or set a larger patience"
        if left is not None and left <= AT_ITS_END:
            advice = "the learning rate was near its end: set a larger patience, or keep the best weights"
    else:
        advice = "it was interrupted, or still runs: resume it"
    return Finding("early_stop", "possible", evidence, advice)


def _rate_left(run: TrainingRecord) -> float | None:
    """Last learning rate of the table as a part of the rate after the warm-up."""
    rates = [rate for _, rate in run.values("lr")]
    highest = max(rates, default=0.0) if run.schedule.optimizer == "auto" else run.schedule.lr
    return rates[-1] / highest if rates and highest else None


def still_rising(case: Case) -> Finding | None:
    """A run that ended as planned while AP was still rising."""
    run, best = case.run, case.run.best
    if best is None or len(run.values("ap")) < LEAST_VALUES:
        raise NotChecked(run.unmeasured or "AP was measured too few times")
    if run.finished < EARLY * run.epochs or not is_rising(run):
        return None
    epoch, before = _best_before(run)
    evidence = f"AP still rose from {before:.3f} in epoch {epoch} to {best[1]:.3f} in epoch {best[0]} of {run.epochs}"
    return Finding("still_rising", "possible", evidence, "train for more epochs")


def is_rising(run: TrainingRecord) -> bool:
    """Whether AP was best at the end, and clearly better than before the last third of the epochs."""
    best, values = run.best, run.values("ap")
    if best is None or len(values) < LEAST_VALUES or best[0] < 0.9 * values[-1][0]:
        return False
    return best[1] > 0 and _best_before(run)[1] < (1 - MOST_RISE) * best[1]


def _best_before(run: TrainingRecord) -> tuple[int, float]:
    """Epoch and value of the highest AP before the last third of the epochs."""
    values = run.values("ap")
    return max(values[: -max(len(values) // 3, 1)], key=lambda pair: pair[1])
