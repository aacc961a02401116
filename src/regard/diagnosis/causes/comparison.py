"""Why one run has a lower AP than another one: nothing but chance, or other settings."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from regard.data.synthetic import PREFIX
from regard.diagnosis.case import Case
from regard.diagnosis.causes.schedule import is_rising
from regard.diagnosis.findings import Finding, NotChecked
from regard.diagnosis.record import TrainingRecord

SPREADS = ((2000, 0.005), (500, 0.01), (0, 0.02))
"""Standard deviation of the difference in AP of two seeds, by the least number of validation images, as it occurs."""
LAST_PART = 1 / 3
"""Part of the epochs over which AP of a run fluctuates around its level."""
NOT_COMPARED = frozenset(
    {
        *("seed", "device", "workers", "cache", "local_rank", "verbose", "profile", "plots", "noplots", "show"),
        *("save", "nosave", "save_period", "val", "noval", "exist_ok", "name", "project", "save_dir", "hyp"),
        *("entity", "upload_dataset", "bbox_interval", "artifact_alias", "bucket"),
    }
)
"""Settings that change results by no more than chance, or not at all; the values of ``hyp`` are settings themselves."""
MOST_LISTED = 6


def seed_noise(case: Case) -> Finding | None:
    """A difference from the second run that another seed could make as well."""
    own, other, epochs = _both(case)
    for run in (case.run, case.against):
        if is_rising(run):
            raise NotChecked(f"AP of {run.folder} was still rising at the end, so its level is unknown")
    if case.run.epochs != case.against.epochs:
        raise NotChecked(
            f"not comparable: the runs were planned for {case.run.epochs} and {case.against.epochs} epochs, so AP "
            "differs in any case"
        )
    expected = _spread(case)
    if abs(own - other) > 2 * expected:
        return None
    evidence = (
        f"AP {own:.3f} against {other:.3f} of {case.against.folder} in the first {epochs} epochs: runs that differ "
        f"only in their seed are up to {2 * expected:.3f} apart in 19 of 20 cases (standard deviation about "
        f"{expected:.3f})"
    )
    return Finding(
        "seed_noise", "note", evidence, "no cause is needed; to compare models, use several seeds: regard ablate"
    )


def changed_settings(case: Case) -> Finding | None:
    """Settings that differ from those of a second run with a clearly higher AP."""
    own, other, _ = _both(case)
    ours, theirs = case.run.settings, case.against.settings
    names = _changed(case)
    if other - own <= 2 * _spread(case) or not names:
        return None
    listed = [f"{name} {theirs.get(name, 'unset')} -> {ours.get(name, 'unset')}" for name in names[:MOST_LISTED]]
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    evidence = f"AP fell from {other:.3f} to {own:.3f}, and {', '.join(listed)}{more} changed"
    return Finding("changed_settings", "possible", evidence, "change one of them back at a time")


def unexplained_drop(case: Case) -> Finding | None:
    """A lower AP than that of a second run, by more than another seed makes, with equal settings and images."""
    own, other, epochs = _both(case)
    expected = _spread(case)
    if other - own <= 2 * expected or _changed(case):
        return None
    evidence = (
        f"AP fell from {other:.3f} of {case.against.folder} to {own:.3f} in the first {epochs} epochs, and no setting "
        f"but perhaps the seed differs; runs that differ only in their seed are up to {2 * expected:.3f} apart in 19 "
        "of 20 cases"
    )
    advice = "compare what the settings do not state: code and versions, labels, starting weights, the graph"
    return Finding("unexplained_drop", "possible", evidence, advice)


def _changed(case: Case) -> list[str]:
    """Names of the settings that differ, but for those that change no more than the seed does."""
    ours, theirs = case.run.settings, case.against.settings
    return [name for name in {**theirs, **ours} if name not in NOT_COMPARED and ours.get(name) != theirs.get(name)]


def _reject_other_images(case: Case) -> None:
    """Check that both runs measured the same: in one way, on the same images with the same labels."""
    ours, theirs = case.run, case.against
    if ours.package != theirs.package:
        raise NotChecked(f"not comparable: {ours.package} and {theirs.package} measure AP in different ways")
    if ours.val_images and theirs.val_images and ours.val_images != theirs.val_images:
        raise NotChecked(
            f"not comparable: the runs were validated on {ours.val_images:,} and {theirs.val_images:,} images"
        )
    try:
        places = [_resolved(one.data_place) for one in (case, case.other)]
    except NotChecked as reason:
        if ours.data == theirs.data and ours.drawn == theirs.drawn:
            return
        text = f"not comparable: the runs state different data sets, and {reason}"
        raise NotChecked(text, reason.remedy) from reason
    if places[0] == places[1] and ours.drawn == theirs.drawn:
        return
    if _validated(case) != _validated(case.other):
        raise NotChecked(
            f"not comparable: the validation images or their labels differ between {places[0]} and {places[1]}"
        )


def _resolved(place: str) -> str:
    return place if place.startswith(PREFIX) else str(Path(place).resolve())


def _validated(case: Case) -> Counter[tuple[str, bytes, bytes]]:
    """Validation images by their names without folders, with their labels."""
    try:
        samples = case.halves.splits["val"]
    except NotChecked as reason:
        text = f"not comparable: the runs state different data sets, and {reason}"
        raise NotChecked(text, reason.remedy) from reason
    return Counter(
        (Path(one.image.name).name, one.class_ids.tobytes(), one.boxes_cxcywh.round(4).tobytes()) for one in samples
    )


def _both(case: Case) -> tuple[float, float, int]:
    """Best AP of both runs in the epochs that both have finished, and their number, if they can be compared."""
    ours, theirs = case.run, case.against
    if ours.folder.resolve() == theirs.folder.resolve():
        raise NotChecked("the second run is the same one")
    for run in (ours, theirs):
        if run.best is None:
            raise NotChecked("a run has no AP")
    if ours.data_names and theirs.data_names and ours.data_names != theirs.data_names:
        raise NotChecked("not comparable: the data sets of the runs have other classes")
    epochs = min(ours.finished, theirs.finished)
    found = [max((ap for epoch, ap in run.values("ap") if epoch <= epochs), default=None) for run in (ours, theirs)]
    if found[0] is None or found[1] is None:
        raise NotChecked("not comparable: the runs have no AP in the same epochs")
    _reject_other_images(case)
    return found[0], found[1], epochs


def _spread(case: Case) -> float:
    """Standard deviation of the difference of two runs: from their fluctuation, at least what is usual."""
    try:
        images = case.run.val_images or len(case.halves.splits["val"])
    except NotChecked:
        images = SPREADS[0][0]
    usual = next(spread for least, spread in SPREADS if images >= least)
    return max(usual, math.hypot(_fluctuation(case.run), _fluctuation(case.against)))


def _fluctuation(run: TrainingRecord) -> float:
    """Standard deviation of AP over the last epochs, from second differences, which a curve changes little."""
    values = [value for _, value in run.values("ap")]
    last = values[-max(round(LAST_PART * len(values)), 4) :]
    bends = [c - 2 * b + a for a, b, c in zip(last, last[1:], last[2:], strict=False)]
    return math.sqrt(sum(bend**2 for bend in bends) / len(bends) / 6) if bends else 0.0
