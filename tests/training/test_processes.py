"""Two processes equal one with the same global batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

import regard
from regard.config import AugmentSettings, LossSettings
from regard.data.formats import load_data
from regard.data.loader import TrainLoader
from regard.graph.detector import Detector
from regard.training.loss import detection_loss, identity_reduce
from regard.training.prepare import freeze_bn_stats

DATA = "synthetic:context?train=8&val=2&test=0"


def losses_and_gradients(fabric: Fabric, state: dict[str, Tensor], out: Path) -> None:
    """One backward pass over the global batch of eight, by however many processes there are."""
    torch.set_num_threads(1)
    model = gated_model()
    model.load_state_dict(state)
    model.train()
    freeze_bn_stats(model, everywhere=True)
    wrapped = fabric.setup(model)
    loader = TrainLoader(
        load_data(DATA).splits["train"],
        settings=AugmentSettings(mosaic=0),
        imgsz=128,
        batch=8,
        seed=1,
        workers=0,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    batch = next(loader.epoch(0))
    reduce = identity_reduce if fabric.world_size == 1 else lambda counts: fabric.all_reduce(counts, reduce_op="sum")
    loss = detection_loss(
        wrapped(batch.images.float() / 255), batch.targets, model.head.anchors, LossSettings(), 128, reduce
    )
    fabric.backward(loss.total)
    total = fabric.all_reduce(loss.total.detach(), reduce_op="mean")
    if fabric.is_global_zero:
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        torch.save({"total": total, "gradients": gradients}, out)


def gated_model() -> Detector:
    model = regard.insert(regard.load("odd-one-out"), "SE", after="p4")
    model.spec = replace(model.spec, file=None)
    return model


def test_two_processes_give_the_loss_and_gradients_of_one(tmp_path: Path) -> None:
    torch.manual_seed(7)
    state = gated_model().state_dict()
    results = []
    for devices in (1, 2):
        out = tmp_path / f"{devices}.pt"
        fabric = Fabric(accelerator="cpu", devices=devices, strategy="ddp_spawn" if devices > 1 else "auto")
        if devices > 1:
            fabric.launch(losses_and_gradients, state, out)  # type: ignore[arg-type]
        else:
            losses_and_gradients(fabric, state, out)
        results.append(torch.load(out, weights_only=True))
    one, two = results
    torch.testing.assert_close(two["total"], one["total"], rtol=1e-5, atol=0)
    assert one["gradients"].keys() == two["gradients"].keys()
    assert "model.6.module.l1.weight" in one["gradients"]  # a closed gate leaves no parameter without a gradient
    for name, gradient in one["gradients"].items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(two["gradients"][name], gradient, rtol=1e-4, atol=1e-5 * max(scale, 1e-6))


def test_a_run_in_two_processes_keeps_one_folder(tmp_path: Path) -> None:
    settings = {"epochs": 1, "batch": 4, "imgsz": 128, "workers": 0, "plots": False, "devices": 2}
    run = regard.train(gated_model(), DATA, folder=tmp_path, device="cpu", **settings)
    assert (tmp_path / "best.safetensors").is_file() or (tmp_path / "last.safetensors").is_file()
    assert run.metrics.images == 2


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_with_statistics_of_their_own(tmp_path: Path) -> None:
    """Each process normalises by its own half of a batch, so weights differ; AP50 differs by at most 0.05."""
    data = "synthetic:local?train=400&val=60&test=0"
    settings = {"epochs": 5, "batch": 16, "imgsz": 128, "workers": 0, "plots": False, "seed": 3}
    found = []
    for devices in (1, 2):
        torch.manual_seed(3)
        model = regard.load("odd-one-out")
        run = regard.train(model, data, folder=tmp_path / str(devices), device="cpu", devices=devices, **settings)
        found.append(run.metrics.ap50)
    assert min(found) > 0.5
    assert abs(found[0] - found[1]) <= 0.05
