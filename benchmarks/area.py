"""What area attention costs in YOLO12, and what other blocks in its place would cost.

    python benchmarks/area.py --page docs/results/area.md

Operations are counted; times are of PyTorch on the CPU, with random weights, all models in turn in each repeat, so that
their ratios are paired. An interval contains the median ratio with 95 % confidence (by order statistics).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median

import torch

import regard
from regard.graph.cost import row_costs
from regard.graph.detector import Detector
from regard.profiling.latency import latencies_in_turn

HEAD = """# Area attention in YOLO12

The blocks `A2C2f` of yolo12n at p4 and p5, with other areas and without attention: operations, and time by PyTorch
on the CPU with {} thread, one image of random values, random weights. Models are measured in turn; a ratio is the
median of the pairs, with its 95 % interval. Command: `python benchmarks/area.py --page docs/results/area.md`.
"""
ATTENDING = ("p4", "p5")
CASES = {
    "stock: areas 4 at p4, 1 at p5": {},
    "areas 1 at p4: global attention": {"p4": {"area": 1}},
    "areas 16 at p4, 4 at p5": {"p4": {"area": 16}, "p5": {"area": 4}},
    "no attention: C3k in these blocks": {layer: {"a2": False} for layer in ATTENDING},
}


def variant(base: str, changes: dict[str, dict[str, object]]) -> Detector:
    """The model with other options in some blocks."""
    detector = regard.load(base)
    for layer, options in changes.items():
        detector = regard.replace(detector, layer, "A2C2f", options=options)
    return detector


def median_interval(values: list[float]) -> tuple[float, float, float]:
    """Median, and a distribution-free 95 % interval of it."""
    ordered, n = sorted(values), len(values)
    skip = max(int((n - 1.96 * n**0.5) / 2), 0)
    return median(ordered), ordered[skip], ordered[n - 1 - skip]


def measure(base: str, size: int, repeats: int) -> list[dict[str, object]]:
    """One row per case: operations, those that areas divide, and the paired ratio of its time to the stock's."""
    models = {name: variant(base, changes) for name, changes in CASES.items()}
    images = torch.rand(1, 3, size, size)
    runs = [lambda model=model: model.raw(images) for model in models.values()]
    times = latencies_in_turn(runs, torch.device("cpu"), repeats)
    rows = []
    for (name, model), own in zip(models.items(), times, strict=True):
        costs = row_costs(model, size)
        ratio, low, high = median_interval([a / b for a, b in zip(own, times[0], strict=True)])
        flops, mixing = sum(c.flops for c in costs), sum(c.mixing_flops for c in costs)
        parameters = sum(p.numel() for p in model.parameters())
        rows.append({"model": base, "size": size, "case": name, "parameters": parameters, "flops": flops,
                     "mixing": mixing, "seconds": median(own), "ratio": ratio, "low": low, "high": high})  # fmt: skip
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """The rows as Markdown."""
    head = "| image | blocks | parameters | GFLOPs | of them products of all cells | time, of stock's | 95 % |"
    lines = [head, "|--:|---|--:|--:|--:|--:|--:|"]
    for r in rows:
        lines.append(
            f"| {r['size']} | {r['case']} | {r['parameters']:,} | {r['flops'] / 1e9:.2f} | "
            f"{r['mixing'] / r['flops']:.1%} | {r['ratio']:.2f} | {r['low']:.2f} to {r['high']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and write the table, and the numbers next to it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolo12n")
    parser.add_argument("--sizes", type=int, nargs="+", default=[640, 1280])
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--page", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = [row for size in given.sizes for row in measure(given.model, size, given.repeats)]
    given.page.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    given.page.write_text(f"{HEAD.format(given.threads)}\n{table(rows)}\n")
    print(table(rows))


if __name__ == "__main__":
    main()
