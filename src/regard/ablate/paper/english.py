"""The paragraphs in English: results, methods, limitations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from regard.ablate.format import counted, interval, percent, plain, signed
from regard.ablate.paper.facts import Facts
from regard.ablate.verdict import Judgement, Obstacle, Verdict

TITLES = ("Results", "Methods", "Limitations")
BETWEEN = " "
CAPTION = (
    "Differences from the base. Diamonds: means over paired seeds; rings: seeds; thick lines: intervals of the row; "
    "thin lines: joint intervals of all variants; shaded: smaller than what matters. Grey: controls, not judged."
)

UNKNOWN_POWER: Mapping[Obstacle, str] = {
    "few_pairs": "Too few pairs finished to state which differences the study would detect.",
    "no_spread": "Some differences are the same for every seed, so their spread, and with it which differences the "
    "study would detect, is unknown.",
    "untaught": "A model that others are compared with learned nothing yet, so the study does not show which "
    "differences it would detect between trained models.",
}


def results(facts: Facts) -> list[str]:
    """One sentence per variant, as its verdict is."""
    lines = [] if math.isnan(facts.level) else [f"The base reaches {plain(facts.level, 3)} {facts.metric} on val."]
    lines += [_result(name, judged, facts) for name, judged in facts.judgements.items()]
    for name, judged in facts.beyond.items():
        words = {
            Verdict.HELPS: "is better than",
            Verdict.HURTS: "is worse than",
            Verdict.NO_DIFFERENCE: f"differs by less than {facts.mde:g} from",
            Verdict.CANT_TELL: "cannot be distinguished from",
        }[judged.verdict if not judged.reason else Verdict.CANT_TELL]
        lines.append(f"{name} {words} plain convolutions of equal capacity ({_numbers(judged, facts)}).")
    return lines or ["No variant was judged."]


def _result(name: str, judged: Judgement, facts: Facts) -> str:
    numbers = _numbers(judged, facts)
    if judged.reason:
        return f"For {name} the study can't tell: {judged.reason}."
    small = f", by less than the {facts.mde:g} that matters" if judged.is_small else ""
    match judged.verdict:
        case Verdict.HELPS:
            return f"{name} improves {facts.metric}{small} ({numbers})."
        case Verdict.HURTS:
            return f"{name} lowers {facts.metric}{small} ({numbers})."
        case Verdict.NO_DIFFERENCE:
            return f"{name} makes no difference larger than {facts.mde:g} ({numbers})."
        case _:
            return f"For {name} the study can't tell at this budget ({numbers})."


def _numbers(judged: Judgement, facts: Facts) -> str:
    if judged.reason:
        return judged.reason
    level, seeds = percent(1 - facts.alpha), len(judged.seeds)
    return f"{signed(judged.mean)} {facts.metric}, {level} interval {interval(judged.interval)}, {seeds} paired seeds"


def methods(facts: Facts) -> list[str]:
    """What was trained and how it was judged."""
    model = f"{facts.base or 'The base'}{f' with the weights {facts.weights}' if facts.weights else ''}"
    data = f" on {facts.data}" if facts.data else ""
    counts = ", ".join(f"{count:,} {split}" for split, count in facts.images.items())
    budget = [*_length(facts)]
    budget += [f"{facts.imgsz} pixels"] if facts.imgsz else []
    budget += [f"batches of {facts.batch}"] if facts.batch else []
    lines = [
        _trained(model, facts, data, counts, budget),
        "Both runs of a pair share the seed, and so the order of the data, the augmentation, the initial values of all "
        "common tensors, and the budget.",
    ]
    if facts.beyond:
        lines.append("Variants were also compared with plain convolutions of equal capacity at the same place.")
    if facts.has_noise:
        lines.append("As an A/A control the base was trained again with other augmentation.")
    which = "of the last epoch" if facts.epoch == "last" else "of the best epoch, chosen on val,"
    alpha = percent(facts.alpha)
    lines += [
        f"The {facts.metric} of the weights {which} on val was compared by two-sided paired t-tests over seeds at "
        f"level {alpha}, with Holm's correction over the variants; where they did not reject, two one-sided tests, "
        f"corrected in the same way, tested a difference of {facts.mde:g} or more.",
        "Where neither rejects, the study can't tell.",
    ]
    if facts.versions:
        lines.append(f"Software: {facts.versions}.")
    return lines


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
    power = facts.power
    if not facts.power_obstacles:
        detected = min(math.floor(100 * power.power) / 100, 0.99)
        lines.append(
            f"With {counted(facts.seeds, 'seed')} a true difference of {facts.mde:g} would be detected with a "
            f"probability of about {detected:.2f}, by the pooled standard deviation of paired differences, "
            f"{plain(power.sd)} ({power.freedom} degrees of freedom)."
        )
    else:
        lines += [UNKNOWN_POWER[obstacle] for obstacle in facts.power_obstacles]
    lines.append("Intervals cover the choice of the seed, not that of the images.")
    if facts.epoch == "best":
        lines.append("The measured epoch was chosen on val, so all values are somewhat too high.")
    lines.append(
        "The test split was evaluated once, after the verdicts, and is no part of them."
        if facts.has_test
        else "There is no test split: all numbers are from val, which took part in the decisions."
    )
    if facts.failed:
        failed = counted(facts.failed, "run")
        lines.append(f"{failed} failed; pairs of failed runs are left out, and the rest may be no fair sample.")
    if facts.unfinished:
        verb = "has" if facts.unfinished == 1 else "have"
        lines.append(f"{counted(facts.unfinished, 'run')} {verb} not finished, so the verdicts are preliminary.")
    return [*lines, *(f"Caution: {line}." for line in facts.overlap)]
