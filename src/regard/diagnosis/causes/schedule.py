"""Causes in how the run learned: warm-up, learning rate, number of updates, end."""

from __future__ import annotations

import math

from regard.diagnosis.case import Case
from regard.diagnosis.findings import Finding, NotChecked

MOST_WARM_UP = 0.5
"""Fraction of a training from which on a warm-up is too long."""
USUAL_LR = {"sgd": 0.01, "adam": 0.001, "adamw": 0.001, "adamax": 0.001, "nadam": 0.001, "radam": 0.001}
"""Learning rates for updates of ``USUAL_BATCH`` images, as the packages' documentation advises."""
USUAL_BATCH = 64
FAST, SLOW = 8.0, 1 / 30
"""Multiples of the usual rate from which on a rate is out of proportion."""
FEWEST_UPDATES = 300
MOST_RISE = 0.1
"""Part of the best AP that may be gained in the last third of the epochs."""
LEAST_VALUES = 3
EARLY = 0.75
"""Fraction of the planned epochs below which the learning rate is still far from its end."""


def diverged(case: Case) -> Finding | None:
    """A loss that is not a finite number."""
    for row in case.run.rows:
        losses = (name for name in row if "loss" in name or name.startswith("train/"))
        bad = [name for name in losses if not math.isfinite(row[name])]
        if bad:
            evidence = f"{bad[0]} is {row[bad[0]]} from epoch {row['epoch']:g} on"
            advice = "lower the learning rate, or train in float32; then look for boxes that are not finite"
            return Finding("diverged", "likely", evidence, advice)
    return None


def warm_up(case: Case) -> Finding | None:
    """A warm-up that is as long as the training, or takes more than half of it."""
    run, schedule = case.run, case.run.schedule
    epochs = min(schedule.warmup_epochs, run.epochs - 1) if schedule.ends_before_last else schedule.warmup_epochs
    steps, total = max(round(epochs * case.steps), schedule.warmup_min_steps), case.steps * run.epochs
    if steps <= MOST_WARM_UP * total:
        return None
    by = "at least " if steps == schedule.warmup_min_steps else ""
    evidence = f"the warm-up takes {by}{steps} steps of the {total} in {run.epochs} epochs ({case.steps} per epoch)"
    rate = "the learning rate never reached its value" if steps >= total else "most of the training was warm-up"
    advice = f"{rate}: train for more epochs, use smaller batches, or set a shorter warm-up (warmup_epochs)"
    return Finding("warm_up", "likely" if steps >= total else "possible", evidence, advice)


def learning_rate(case: Case) -> Finding | None:
    """A learning rate far from what is usual for the optimiser and the number of images per update."""
    run, schedule = case.run, case.run.schedule
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
    """Gradients that were gathered over so many images that the weights changed only a few times."""
    run, schedule = case.run, case.run.schedule
    steps = case.steps * run.epochs
    gathered = max(round(schedule.nominal_batch / run.batch), 1) if schedule.nominal_batch else 1
    updates = steps // gathered
    if gathered == 1 or updates >= FEWEST_UPDATES:
        return None
    evidence = (
        f"gradients are gathered over {gathered} batches (nominal batch {schedule.nominal_batch}), so the weights "
        f"changed about {updates} times in {run.epochs} epochs"
    )
    return Finding(
        "few_updates", "possible", evidence, "train for more epochs, or update after every batch (nominal batch)"
    )


def early_stop(case: Case) -> Finding | None:
    """A run that ended long before its planned end, when its learning rate was still high."""
    run = case.run
    if not run.rows:
        raise NotChecked("no epoch is finished")
    if run.finished >= EARLY * run.epochs:
        return None
    best = run.best
    evidence = f"{run.finished} of {run.epochs} epochs are in the table"
    if best and run.patience and run.finished - best[0] >= run.patience:
        evidence += f"; it stopped as no epoch was better than epoch {best[0]} for {run.patience} epochs (patience)"
        advice = "the learning rate had not fallen yet: plan fewer epochs, so that it falls, or set a larger patience"
    else:
        advice = "it was interrupted, or still runs: resume it"
    return Finding("early_stop", "possible", evidence, advice)


def still_rising(case: Case) -> Finding | None:
    """A run that ended as planned while AP was still rising."""
    run, values = case.run, case.run.values("ap")
    best = run.best
    if best is None or len(values) < LEAST_VALUES:
        raise NotChecked("AP was measured too few times")
    if run.finished < EARLY * run.epochs or best[0] < 0.9 * values[-1][0]:
        return None
    third = values[: -max(len(values) // 3, 1)]
    epoch, before = max(third, key=lambda pair: pair[1])
    if best[1] <= 0 or before >= (1 - MOST_RISE) * best[1]:
        return None
    evidence = f"AP still rose from {before:.3f} in epoch {epoch} to {best[1]:.3f} in epoch {best[0]} of {run.epochs}"
    return Finding("still_rising", "possible", evidence, "train for more epochs")
