"""The demonstration, a small study: does a layer that sees the whole image help a detector that sees 82 pixels?

The data are drawn on the fly (`regard.data.synthetic`): in the task "context" an object's class depends on the others
in the image, in "local" on the object alone. Three detectors learn both from scratch: the base, the base with a
transformer block, which attends to the whole map, and the base with plain convolutions of as many parameters. The
context task is a study with three paired seeds and a verdict; the local task, with one run each, is shown only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from rich.box import SIMPLE_HEAD

from regard.ablate.folder import RunRecord, StudyRecord
from regard.ablate.format import print_verdict
from regard.ablate.plan import Plan, make_plan
from regard.ablate.study import run_study
from regard.config import AugmentSettings, LossSettings, OptimSettings, Recipe
from regard.system.files import check_folder
from regard.system.interrupts import interrupts_deferred
from regard.system.plain_table import PlainTable
from regard.system.resources import available_cores
from regard.system.terminal import plain_console
from regard.system.translation import translate

IMAGES = "train=1000&val=200&test=0"
CONTEXT, LOCAL = f"synthetic:context?{IMAGES}", f"synthetic:local?{IMAGES}"
ATTENTION = "self-attention=TransformerBlock(num_heads=4, pos_embed=sinusoidal)@p4"
SEEDS = (0, 1, 2)
EPOCHS, BATCH, IMGSZ = 5, 16, 128
MDE = 0.05
"""Smallest difference in AP50 that matters: a smaller one would not show an effect of seeing the whole image."""

MOST_PARALLEL = 4
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
Odd one out: 3 to 5 discs and squares, all of one colour but one. Only the other
objects in the image tell which one is odd. Does a layer that mixes over the
whole image help a small detector with a receptive field of 82 of 128 pixels?

  base             the detector as it is
  self-attention   with a transformer block: 4 heads over the whole last map
  its control      with plain convolutions of as many parameters instead"""

LEGEND = """\
Measured on images that were not trained on. Seeds and mean: the context task,
judged below. Local: the same scenes, where the class of an object is its
shape; one run each with seed 0, shown without a test."""

MEANING = """\
What this result shows: where the whole image decides, mixing over the whole
image is better than a local receptive field. It does not show that attention
is better than YOLOv5, whose SPPF covers the whole image too. The base sees the
nearest neighbours and the control a little more; with some seeds one of them
may suddenly learn the task, hence the pairs and the control."""


@interrupts_deferred()
def run_demo(folder: Path) -> StudyRecord:
    """Run both studies, or what is left of them, print their results, and return that of the context task.

    Args:
        folder: gets the folders ``context`` and ``local``, each a study as of ``regard ablate``.

    Raises:
        RegardError: the folder contains another study, or is in use.
    """
    check_folder(folder)
    console, parallel = plain_console(), min(available_cores(), MOST_PARALLEL)
    context, local = context_plan(), local_plan()
    about = (
        f"Each run takes {EPOCHS} epochs, {parallel} at a time; nothing is downloaded. The same command\n"
        "continues an interrupted demonstration, and shows a finished one again."
    )
    console.print(f"{translate(WHAT)}\n\n{translate(about)}\n", highlight=False)
    done = []
    for name, plan in (("context", context), ("local", local)):
        console.print(translate(f"{name}: {3 * len(plan.seeds)} runs"), highlight=False)
        done.append(run_study(plan, folder / name, threads=1, processes=parallel, console=console))
    console.print(_table(*done))
    console.print(f"{translate(LEGEND)}\n\n{translate(MEANING)}\n", highlight=False)
    print_verdict(done[0], console)
    return done[0]


def context_plan() -> Plan:
    """Plan of the study that is judged."""
    return _plan(CONTEXT, SEEDS, "If the whole image decides an object's class, does a layer that sees all of it help?")


def local_plan() -> Plan:
    """Plan of one run of each model on the same scenes, labelled by the shape of each object."""
    return _plan(LOCAL, SEEDS[:1], "If each object shows its class by itself, what do single runs reach?")


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


def _table(context: StudyRecord, local: StudyRecord) -> PlainTable:
    """Tabulate AP50 and AP of every run, on two lines per model."""
    table = PlainTable(box=SIMPLE_HEAD)
    table.add_column(translate("model"), max_width=16)
    for heading in ("", *(f"seed {seed}" for seed in context.seeds), "mean", "local"):
        table.add_column(translate(heading), justify="right")
    for variant in context.variants:
        runs, alone = context.finished(variant.name), local.finished(variant.name)
        seeds = [[runs[seed]] if seed in runs else [] for seed in context.seeds]
        cells = map(_cell, (*seeds, list(runs.values()), list(alone.values())))
        table.add_row(variant.name, "AP50\nAP", *cells, end_section=True)
    return table


def _cell(runs: Sequence[RunRecord]) -> str:
    """Mean of both measures over runs, a line each; dashes if none has finished."""
    return "\n".join(f"{mean(run.metrics[m] for run in runs):.3f}" if runs else "-" for m in MEASURES)
