"""The paragraphs in English: results, methods, limitations."""

from __future__ import annotations

import math
from collections.abc import Iterator

from regard.ablate.digits import counted, mean_and_interval, percent, plain, signed
from regard.ablate.paper.facts import Facts
from regard.ablate.paper.machines import Machines
from regard.ablate.verdict import Judgement, Verdict

TITLES = ("Results", "Methods", "Limitations")
BETWEEN, AND = " ", ", "
CAPTION = (
    "Differences from the base. Diamonds: means over paired seeds; rings: seeds; thick lines: intervals of the row; "
    "thin lines: joint intervals of all variants; shaded: smaller than what matters. Controls are not judged."
)


def results(facts: Facts) -> list[str]:
    """One sentence per variant, as its verdict is."""
    lines = [_level(facts), *(_result(name, judged, facts) for name, judged in facts.judgements.items())]
    lines += [_beyond(name, judged, facts) for name, judged in facts.beyond.items()]
    lines += [_test(facts)]
    return [line for line in lines if line] or ["No variant was judged."]


def _level(facts: Facts) -> str:
    if math.isnan(facts.level):
        return ""
    mean = f", the mean over {facts.level_seeds} seeds" if facts.level_seeds > 1 else ""
    return f"The base reaches {plain(facts.level, 3)} {facts.metric} on val{mean}."


def _beyond(name: str, judged: Judgement, facts: Facts) -> str:
    numbers, control = _numbers(judged, facts), "its capacity control"
    small = f", by less than the {facts.mde:g} that matters" if judged.is_small else ""
    caution = _caution("the control", judged)
    match judged.verdict:
        case Verdict.HELPS:
            return f"{name} is better than {control}{small} ({numbers}){caution}."
        case Verdict.HURTS:
            return f"{name} is worse than {control}{small} ({numbers}){caution}."
        case Verdict.NO_DIFFERENCE:
            return f"{name} differs by less than {facts.mde:g} from {control} ({numbers})."
        case _:
            return f"The study can't tell whether {name} differs from {control} ({numbers})."


def _test(facts: Facts) -> str:
    found = [
        f"{name} {signed(mean)} {facts.metric} ({counted(pairs, 'seed')})" for name, (mean, pairs) in facts.test.items()
    ]
    return f"On the test split the mean differences from the base are: {', '.join(found)}." if found else ""


def _result(name: str, judged: Judgement, facts: Facts) -> str:
    numbers = _numbers(judged, facts)
    if judged.reason:
        return f"For {name} the study can't tell: {judged.reason}."
    small = f", by less than the {facts.mde:g} that matters" if judged.is_small else ""
    caution = _caution("the base", judged)
    match judged.verdict:
        case Verdict.HELPS:
            return f"{name} improves {facts.metric}{small} ({numbers}){caution}."
        case Verdict.HURTS:
            return f"{name} lowers {facts.metric}{small} ({numbers}){caution}."
        case Verdict.NO_DIFFERENCE:
            return f"{name} makes no difference larger than {facts.mde:g} ({numbers})."
        case _:
            return f"For {name} the study can't tell at this budget ({numbers})."


def _caution(other: str, judged: Judgement) -> str:
    """What a claim over a model that learned next to nothing is worth."""
    return f", but {other} learned next to nothing ({judged.untaught})" if judged.untaught else ""


def _numbers(judged: Judgement, facts: Facts) -> str:
    if judged.reason:
        return judged.reason
    level, seeds = percent(1 - facts.alpha), len(judged.seeds)
    mean, ends = mean_and_interval(judged.mean, judged.interval)
    return f"{mean} {facts.metric}, {level} interval {ends}, {seeds} paired seeds"


def methods(facts: Facts) -> list[str]:
    """What was trained and how it was judged."""
    model = f"{facts.base or 'The base'}{f' with the weights {facts.weights}' if facts.weights else ''}"
    data = f" on {facts.data}" if facts.data else ""
    counts = ", ".join(f"{count:,} {split}" for split, count in facts.images.items())
    budget = [*_length(facts)]
    budget += [f"{facts.imgsz} pixels"] if facts.imgsz else []
    budget += [f"batches of {facts.batch}"] if facts.batch else []
    own = " (but for variants that have weights of their own)" if facts.has_other_models else ""
    lines = [_trained(model, facts, data, counts, budget), _recipe(facts)]
    lines.append(
        "Both runs of a pair share the seed, and so the order of the data, the augmentation, the initial values of all "
        f"common tensors{own}, and the budget."
        if facts.is_of_detectors
        else "Both runs of a pair share the seed."
    )
    if facts.has_gates:
        lines.append(
            "Inserted layers lie behind gates that are closed at the start, so that each of these variants starts as "
            "the base."
        )
    lines += [_controls(facts)]
    if facts.has_noise:
        lines.append(
            "As an A/A control the base was trained again with another order of images and other augmentation."
        )
    lines += _tests(facts)
    lines += _machines(facts.machines)
    return [line for line in lines if line]


def _machines(machines: Machines) -> Iterator[str]:
    """Device and versions; all of them where the runs differ."""
    if len(machines.devices) == 1:
        yield f"Device of all runs: {machines.devices[0]}."
    elif machines.devices:
        yield f"The runs were not all trained on the same device: {' / '.join(machines.devices)}."
    if len(machines.versions) == 1:
        yield f"Software{'' if machines.is_of_runs else ' when the study began'}: {machines.versions[0]}."
    elif machines.versions:
        yield f"The runs were not all trained with the same software: {' / '.join(machines.versions)}."


def _recipe(facts: Facts) -> str:
    changed = ", ".join(f"{name} {value}" for name, value in facts.settings.items())
    if not facts.recipe:
        return f"Training settings: {changed}." if changed else ""
    own = " (own values, listed in study.json)" if facts.has_own_recipe else ""
    return f"The recipe was {facts.recipe}{own}{f', with {changed}' if changed else ''}."


def _controls(facts: Facts) -> str:
    if not facts.beyond:
        return ""
    is_each = len(facts.beyond) == len(facts.judgements)
    names = "Every variant" if is_each and len(facts.beyond) > 1 else ", ".join(facts.beyond)
    verb = "were" if len(facts.beyond) > 1 and not is_each else "was"
    size = "FLOPs" if facts.matched == "flops" else "parameters"
    kind = f": plain convolutions with about as many {size}, at the same place" if facts.is_of_detectors else ""
    return f"{names} {verb} also compared with a capacity control{kind}."


def _tests(facts: Facts) -> list[str]:
    which = "of the last epoch" if facts.epoch == "last" else "of the best epoch, chosen on val,"
    compared = f"The {facts.metric} of the weights {which} on val was compared"
    if facts.seeds < 2:
        return [f"{compared}; one seed allows no test, so the study can't tell."]
    return [
        f"{compared} by two-sided paired t-tests over seeds at level {percent(facts.alpha)}, with Holm's correction "
        f"over the variants; where they did not reject, two one-sided tests, corrected in the same way, tested a "
        f"difference of {facts.mde:g} or more.",
        "Where neither rejects, the study can't tell.",
    ]


def _length(facts: Facts) -> Iterator[str]:
    """How long each run was, by the budget that was given."""
    least, most = facts.epochs
    epochs = f"{least:,} to {most:,} epochs, depending on the variant" if least < most else counted(most, "epoch")
    if facts.minutes:
        time = f"{facts.minutes:g} minute{'s' * (facts.minutes != 1)} of training"
        yield f"{time}, converted to epochs by a measurement{f' ({epochs})' if most else ''}"
    elif facts.samples:
        yield f"{counted(facts.samples, 'training image')}{f' (rounded up to {epochs})' if most else ''}"
    elif most:
        yield epochs


def _trained(model: str, facts: Facts, data: str, counts: str, budget: list[str]) -> str:
    images = f" ({counts} images)" if counts else ""
    each = f", each run for {', '.join(budget)}" if budget else ""
    variants, seeds = len(facts.judgements), facts.seeds
    return (
        f"{model} and {counted(variants, 'variant')} of it were trained{data}{images} with "
        f"{counted(seeds, 'seed')}{each}."
    )


def limitations(facts: Facts) -> list[str]:
    """What the study does not show."""
    data = facts.data or "one data set"
    lines = [
        f"The study covers {data}, one base model and one budget; it shows nothing about other data, models or longer "
        "training."
    ]
    if facts.undecided:
        listed = ", ".join(facts.undecided)
        lines.append(
            f"For {listed}, the study can't tell, which is no evidence of no effect: neither a difference nor its "
            "absence was shown."
        )
    if facts.undecided_beyond:
        listed = ", ".join(facts.undecided_beyond)
        lines.append(
            f"For {listed} against the capacity control, the study can't tell: neither a difference nor its absence "
            "was shown."
        )
    lines += facts.detected
    if facts.has_intervals:
        lines.append("Intervals cover the choice of the seed, not that of the images.")
    if facts.epoch == "best":
        lines.append("The measured epoch was chosen on val, so all values are somewhat too high.")
    missing = "There is no test split" if facts.has_no_test else "No test split was evaluated"
    lines.append(
        "The test split was evaluated once, after the verdicts, and is no part of them."
        if facts.test
        else f"{missing}: all numbers are from val, which took part in the decisions."
    )
    if facts.failed:
        failed = counted(facts.failed, "run")
        lines.append(f"{failed} failed; pairs of failed runs are left out, and the rest may be no fair sample.")
    if facts.without_value:
        runs = counted(facts.without_value, "finished run")
        lines.append(
            f"{runs} had no finite {facts.metric}, as after a training that diverged; their pairs are left out, and "
            "the rest may be no fair sample."
        )
    if mixed := facts.machines.mixed_pairs:
        lines.append(
            f"In {counted(mixed, 'pair')} the two runs differ in device or software, which may be part of their "
            "difference."
        )
    if facts.unfinished:
        verb = "has" if facts.unfinished == 1 else "have"
        lines.append(f"{counted(facts.unfinished, 'run')} {verb} not finished, so the verdicts are preliminary.")
    return [*lines, *(f"Caution: {line}." for line in facts.overlap)]
