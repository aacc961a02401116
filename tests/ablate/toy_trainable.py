"""A subject of a study that is no detector: noisy numbers, one per image, that training brings closer to a level."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from regard.ablate.folder import Variant
from regard.ablate.plan import StudySettings
from regard.ablate.trainable import Budget, Evaluation, Experiment

EFFECTS = {"base": 0.0, "better": 0.04, "same": 0.0, "worse": -0.03, "control of better": 0.005}
IMAGES = {"train": 100, "val": 60, "test": 40}


class NoisyNumbers:
    """One run.

    Args:
        folder: of the run.
        broken: variant whose training raises an error.
        stop_at: epoch after which the process exits, once, as if it were killed.
    """

    def __init__(self, folder: Path, broken: str = "", stop_at: int = 0) -> None:
        self.folder, self.broken, self.stop_at = folder, broken, stop_at

    def start(self, variant: str, seed: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(variant=variant, seed=seed, epoch=0)

    def train(self, budget: Budget) -> None:
        state = self._read()
        if state["variant"] == self.broken:
            raise ArithmeticError("numbers run out")
        for epoch in range(state["epoch"] + 1, budget.epochs + 1):
            self._write(**{**state, "epoch": epoch})
            with (self.folder / "results.csv").open("a") as table:
                if epoch == 1:
                    table.write("epoch,train_seconds,val_seconds,val/score\n")
                table.write(f"{epoch},0.5,0.25,{self._values('val').mean():.6g}\n")
            if epoch == self.stop_at:
                raise SystemExit(3)

    def evaluate(self, split: str) -> Evaluation:
        values = self._values(split)
        metrics = {"score": float(values.mean()), "spread": float(values.std())}
        return Evaluation(metrics, values.tolist(), fingerprint=json.dumps(self._read()))

    def _values(self, split: str) -> np.ndarray[Any, Any]:
        """Each image has its difficulty, each seed its luck, which all variants share, and each run a little noise."""
        state = self._read()
        image = np.random.default_rng(len(split)).normal(0, 0.1, IMAGES[split])
        luck = np.random.default_rng(state["seed"]).normal(0, 0.02)
        noise = np.random.default_rng((state["seed"], *state["variant"].encode())).normal(0, 0.002)
        learned = 1 - 0.5 ** state["epoch"]
        return (0.4 + EFFECTS[state["variant"]] + luck + noise) * learned + image

    def _write(self, **state: Any) -> None:
        (self.folder / "state.json").write_text(json.dumps(state))

    def _read(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "state.json").read_text()))


def toy_plan(**changes: Any) -> StudySettings:
    return StudySettings(**{"seeds": 4, "epochs": 6, "metric": "score", "mde": 0.02, **changes})


def toy_experiment(**arguments: Any) -> Experiment:
    variants = [Variant("base", "base")]
    variants += [Variant(name, "variant") for name in ("better", "same", "worse")]
    variants.append(Variant("control of better", "capacity control", "better", "as large"))
    return Experiment(NoisyNumbers, variants, IMAGES, arguments)
