"""The demonstration, a small study: does a detector that sees 82 pixels gain from a layer that sees the whole image?

The data are drawn on the fly (`regard.data.synthetic`): in the task "context" an object's class depends on the others
in the image, in "local" on the object alone. Three detectors learn both from scratch: the base, the base with a
transformer block, which attends to the whole map, and the base with plain convolutions of as many parameters. The
context task is a study with three paired seeds and a verdict; one run each on the local task is description.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from regard.ablate.console import print_verdict
from regard.ablate.folder import RunRecord, StudyRecord
from regard.ablate.plan import Plan, make_plan
from regard.ablate.study import run_study
from regard.config import AugmentSettings, LossSettings, OptimSettings, Recipe
from regard.system.resources import available_cores

IMAGES = "train=1000&val=200&test=0"
CONTEXT, LOCAL = f"synthetic:context?{IMAGES}", f"synthetic:local?{IMAGES}"
ATTENTION = "self-attention=TransformerBlock(heads=4, positions=sinusoidal)@p4"
SEEDS = (0, 1, 2)
EPOCHS, BATCH, IMGSZ = 5, 16, 128
MDE = 0.05
"""Of AP50: a smaller difference would say nothing about seeing the whole image."""

MOST_AT_A_TIME = 4
MEASURES = ("ap50", "ap")

RECIPE = Recipe(
    name="demo",
    # The colour of an object and its place are what the task is about: only mirroring leaves it as it is.
    augment=AugmentSettings(mosaic=0, translate=0, scale=0, hsv_h=0, hsv_s=0, hsv_v=0, flipud=0.5),
    loss=LossSettings(cls=20.0),  # two classes: the gain is scaled by 2 / 80
    optim=OptimSettings(
        optimizer="adamw",
        lr=3e-3,
        schedule="cosine",
        momentum=0.9,
        warmup_momentum=0.9,
        weight_decay=0.01,
        warmup_epochs=1.0,
        warmup_min_steps=0,
        warmup_bias_lr=0.0,
        nominal_batch=0,
        ema_decay=0.98,
        ema_tau=20.0,
    ),
)

WHAT = """\
Odd one out: 3 to 5 discs and squares, all of one colour but one. Which object
is 'odd' only the others in the image tell. Does a layer that mixes over the
whole image pay in a small detector whose field is 82 of its 128 pixels?

  base             the detector as it is
  self-attention   with a transformer block: 4 heads over the whole last map
  its control      with plain convolutions of as many parameters instead
"""

LEGEND = """\
Measured on images that no model has learned from. Seeds and mean: context,
judged below. Local: the same scenes, where the class of an object is its
shape; one run each, seed 0, described and not judged.
"""

MEANING = """\
What such a result may say: mixing over the whole image beats a detector whose
field is local, where the whole image decides. Not that attention beats YOLOv5,
whose SPPF sees all of such an image too. The base sees its nearest neighbours,
the control some more, and with some seeds one of them may take off: that is why
there are pairs, and a control.
"""


def run_demo(folder: Path) -> StudyRecord:
    """Run both studies, or what is left of them, print their results, and return that of the context task.

    Args:
        folder: gets the folders ``context`` and ``local``, each a study as of ``regard ablate``.

    Raises:
        RegardError: the folder holds another study, or is in use.
    """
    console, at_a_time = Console(), min(available_cores(), MOST_AT_A_TIME)
    context, local = context_plan(), local_plan()
    console.print(WHAT, highlight=False)
    console.print(
        f"Each run takes {EPOCHS} epochs, and {at_a_time} run at a time; nothing is downloaded. The same\n"
        "command goes on with what was interrupted, and shows again what has finished.\n",
        highlight=False,
    )
    done = []
    for name, plan in (("context", context), ("local", local)):
        console.print(f"{name}: {3 * len(plan.seeds)} runs", highlight=False)
        done.append(run_study(plan, folder / name, threads=1, processes=at_a_time, console=console))
    console.print(_table(*done))
    console.print(f"{LEGEND}\n{MEANING}", highlight=False)
    print_verdict(done[0], console)
    return done[0]


def context_plan() -> Plan:
    """Return the study that is judged."""
    return _plan(
        CONTEXT, SEEDS, "Where the whole image decides an object's class, does a layer that sees all of it pay?"
    )


def local_plan() -> Plan:
    """Return one run of each model on the same scenes, labelled by what each object shows by itself."""
    return _plan(LOCAL, SEEDS[:1], "Where each object by itself shows its class, what do single runs reach?")


def _plan(data: str, seeds: Sequence[int], question: str) -> Plan:
    settings: dict[str, Any] = {"epochs": EPOCHS, "batch": BATCH, "imgsz": IMGSZ, "recipe": RECIPE}
    return make_plan(
        {
            "base": "odd-one-out",
            "data": data,
            "insert": [ATTENTION],
            "gate": False,  # all learn from scratch, so there is nothing that a closed gate would spare
            "seeds": list(seeds),
            "metric": "ap50",
            "mde": MDE,
            "train": {"device": "cpu", "precision": "auto"},
            "question": question,
            **settings,
        }
    )


def _table(context: StudyRecord, local: StudyRecord) -> Table:
    """Return AP50 and AP of every run, on two lines a model."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("model", max_width=16)
    for heading in ("", *(f"seed {seed}" for seed in context.seeds), "mean", "local"):
        table.add_column(heading, justify="right")
    for variant in context.variants:
        runs, alone = context.finished(variant.name), local.finished(variant.name)
        seeds = [[runs[seed]] if seed in runs else [] for seed in context.seeds]
        cells = map(_cell, (*seeds, list(runs.values()), list(alone.values())))
        table.add_row(variant.name, "AP50\nAP", *cells, end_section=True)
    return table


def _cell(runs: Sequence[RunRecord]) -> str:
    """Return the mean of both measures over runs, a line each; dashes where none has finished."""
    return "\n".join(f"{mean(run.metrics[m] for run in runs):.3f}" if runs else "-" for m in MEASURES)
