"""Tasks with and without global context: attention of four kinds on the two drawn tasks.

    python benchmarks/tasks.py --work runs/tasks

Two studies of `regard ablate`, like those of `regard demo` but with more variants, 2,000 images and three colours: on
"context" an object's class depends on the other objects in the image, on "local" on the object alone. Finished runs are
not repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from regard.ablate.plan import Plan, make_plan
from regard.ablate.study import run_study
from regard.demo import IMGSZ, MDE, RECIPE

EPOCHS, BATCH = 6, 32

GATE_LR_FACTOR = 10.0
"""As in the default recipe: the gates, closed at the start, have six epochs to open. Attention without a residual path
learns nothing here in that time."""

SLOT = "p4"
"""The last feature map, 8 x 8 cells of 16 pixels."""

KINDS = {
    "global": "MultiHeadSelfAttention(pos_embed=sinusoidal)",
    "window": "WindowAttention(window=4, pos_embed=sinusoidal)",
    "linear": "LinearAttention(pos_embed=sinusoidal)",
    "channel": "SE(reduction=4)",
}
"""Global, within windows of 64 pixels, global without N x N, and over channels alone."""

CHEAP = {
    "relu-linear": "ReLULinearAttention(pos_embed=sinusoidal)",
    "efficient": "EfficientAttention(pos_embed=sinusoidal)",
    "shifted-window": "ShiftedWindowAttention(window=4, pos_embed=sinusoidal)",
    "linformer": "Linformer(rank=16, side=8, pos_embed=sinusoidal)",
}
"""With linear attention, the five cheaper variants that were fastest at P3 and P4 of yolov5n."""

TASKS = {
    "context": (KINDS | CHEAP, 3, "If the whole image decides an object's class, what does each attention bring?"),
    "local": (KINDS, 2, "If each object shows its own class, does any attention help?"),
}
"""Variants, seeds and question. On "local" all detectors reach nearly the same, so two seeds are enough."""


def plan_of(task: str) -> Plan:
    """Plan of the study of one task."""
    kinds, seeds, question = TASKS[task]
    return make_plan(
        {
            "base": "odd-one-out",
            "data": f"synthetic:{task}",
            "insert": [f"{name}={layer}@{SLOT}" for name, layer in kinds.items()],
            "control": "largest",
            "seeds": seeds,
            "epochs": EPOCHS,
            "batch": BATCH,
            "imgsz": IMGSZ,
            "recipe": RECIPE.model_copy(
                update={"optim": RECIPE.optim.model_copy(update={"gate_lr_factor": GATE_LR_FACTOR})}
            ),
            "metric": "ap50",
            "mde": MDE,
            "train": {"device": "cpu"},
            "question": question,
        }
    )


def main() -> None:
    """Run all studies that are not finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    a = parser.parse_args()
    for task in TASKS:
        run_study(plan_of(task), a.work / task)
        print(f"{a.work / task}/report.html")


if __name__ == "__main__":
    main()
