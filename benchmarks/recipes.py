"""Train an anchor-free detector by several recipes, and compare their AP on val and test.

    python benchmarks/recipes.py --data ../shared/data/bccd --model yolov8n --work runs/recipes --seeds 3

Every run starts from the random weights of its seed, or from those of the file that ``--model`` names. Recipes are to
be chosen on val; test is only reported. Finished runs in ``--work`` are not repeated, an interrupted one is resumed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch

import regard
from regard.config import DEFAULT_RECIPE, SCRATCH_RECIPE, ULTRALYTICS_RECIPE, OptimSettings, Recipe

SPLITS = ("val", "test")
Scores = dict[str, dict[str, float]]


def changed(name: str, optim: Mapping[str, Any], **rest: Any) -> Recipe:
    """The default recipe with other values."""
    settings = OptimSettings.model_validate({**DEFAULT_RECIPE.optim.model_dump(), **optim})
    return DEFAULT_RECIPE.model_copy(update={"name": name, "optim": settings, **rest})


def musgd(name: str, lr: float, **optim: Any) -> Recipe:
    """The default recipe with MuSGD instead of AdamW."""
    momentum = {"momentum": 0.937, "warmup_momentum": 0.8, "warmup_bias_lr": 0.0, "weight_decay": 5e-4}
    return changed(name, {"optimizer": "musgd", "lr": lr, **momentum, **optim})


RECIPES = {
    recipe.name: recipe
    for recipe in (
        DEFAULT_RECIPE,
        ULTRALYTICS_RECIPE,
        changed("adamw-5e-4", {"lr": 5e-4}),
        SCRATCH_RECIPE,
        changed("adamw-4e-3", {"lr": 4e-3}),
        musgd("musgd-0.01", 0.01),
        musgd("musgd-0.02", 0.02),
        musgd("musgd-0.04", 0.04),
        changed("close-mosaic-10", {}, close_mosaic=10),
    )
}


def run(recipe: Recipe, seed: int, options: argparse.Namespace) -> Scores:
    """Train and evaluate one detector, or read its scores where it is finished."""
    name = f"{options.data.name}-{Path(options.model).stem}-{recipe.name}-{seed}"
    kept = options.work / f"{name}.json"
    if kept.exists():
        found: Scores = json.loads(kept.read_text())
        return found
    folder, began = options.work / name, time.process_time()
    if (folder / "state.pt").exists():
        trained = regard.resume(folder)
    else:
        torch.manual_seed(seed)
        fixed = {"epochs": options.epochs, "imgsz": options.imgsz, "batch": options.batch, "seed": seed}
        slight = {"workers": 0, "plots": False, "val_every": options.epochs}
        model = regard.load(options.model)
        trained = regard.train(model, options.data, folder=folder, recipe=recipe, **fixed, **slight)
    scores: Scores = {"processor": {"seconds": time.process_time() - began}}
    for split in SPLITS:
        metrics = regard.val(trained.model, options.data, split=split, imgsz=options.imgsz)
        scores[split] = {"ap": metrics.ap, "ap50": metrics.ap50}
    kept.write_text(json.dumps(scores, indent=1) + "\n")
    return scores


def page(options: argparse.Namespace, results: Mapping[str, list[Scores]]) -> str:
    """The results as Markdown."""
    lines = [
        f"# {Path(options.model).stem} on {options.data.name}: recipes",
        "",
        f"{date.today()}, {options.epochs} epochs, {options.imgsz} px, batch {options.batch}, seeds 0 to "
        f"{options.seeds - 1}, regard {regard.__version__}, torch {torch.__version__.split('+')[0]}. COCO protocol.",
        "",
        "| recipe | AP val | AP50 val | AP test | AP50 test | AP val of each seed |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for name, runs in results.items():
        cells = [spread([scores[split][key] for scores in runs]) for split in SPLITS for key in ("ap", "ap50")]
        each = ", ".join(f"{scores['val']['ap']:.3f}" for scores in runs)
        lines.append(f"| {name} | {' | '.join(cells)} | {each} |")
    return "\n".join(lines) + "\n"


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


def main() -> None:
    """Run what is not finished and print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="yolov8n", help="a stock graph, or a file of weights")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--page", type=Path, help="where the table goes")
    for name, default in (("--seeds", 3), ("--epochs", 30), ("--imgsz", 160), ("--batch", 16)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    options.data, options.work = options.data.resolve(), options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[Scores]] = {name: [] for name in options.recipes}
    for seed in range(options.seeds):
        for name in options.recipes:
            results[name].append(run(RECIPES[name], seed, options))
            print(name, seed, results[name][-1], flush=True)
    text = page(options, results)
    print(text)
    if options.page:
        options.page.write_text(text)


if __name__ == "__main__":
    main()
