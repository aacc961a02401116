"""What attention draws at random is one plan: in every process, in a copy, in a file, and after training."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

import regard
from regard.nn.attention import ATTENTION
from regard.training.ema import Ema

PLANS = {"LSHAttention": "rotations", "BigBirdAttention": "plan", "Performer": "directions"}
"""Kinds of attention that draw something at random, and the buffer that contains it."""
SMALL = {"LSHAttention": {"buckets": 4, "chunk_size": 8}, "BigBirdAttention": {"block": 2}, "Performer": {}}
SIDES = (9, 13)


class Branches(nn.Module):
    """Each kind on the same maps, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = nn.ModuleDict({name: ATTENTION[name](8, **options) for name, options in SMALL.items()})

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([branch(x) for branch in self.kinds.values()])

    def plans(self) -> dict[str, Tensor]:
        return {name: self.kinds[name].get_buffer(buffer).clone() for name, buffer in PLANS.items()}


def two_steps(fabric: Fabric, folder: Path) -> None:
    """Two steps on four images, by however many processes there are, each of which drew its own plans."""
    torch.set_num_threads(1)
    torch.manual_seed(100 + fabric.global_rank)
    model = Branches()
    drawn = model.plans()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    wrapped, optimizer = fabric.setup(model, optimizer)
    images, upstream = torch.randn(2, 4, 8, *SIDES, generator=torch.Generator().manual_seed(7))
    share = slice(fabric.global_rank, None, fabric.world_size)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        mixed = wrapped(images[share])
        loss = (mixed * upstream[share]).mean() + mixed.square().mean()
        fabric.backward(loss)
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        optimizer.step()
        losses.append(fabric.all_reduce(loss.detach(), reduce_op="mean"))
    found = {"drawn": drawn, "plans": model.plans(), "losses": torch.stack(losses), "gradients": gradients}
    torch.save(found, folder / f"{fabric.world_size}-{fabric.global_rank}.pt")
    if fabric.world_size > 1:  # a process that ends while threads of its group still run may abort
        fabric.barrier()
        torch.distributed.destroy_process_group()


def test_two_processes_have_one_plan_and_the_loss_and_gradients_of_one(tmp_path: Path) -> None:
    two_steps(Fabric(accelerator="cpu", devices=1), tmp_path)
    Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn").launch(two_steps, tmp_path)  # type: ignore[arg-type]
    one, first, second = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1-0", "2-0", "2-1"))
    for name in PLANS:
        assert not torch.equal(first["drawn"][name], second["drawn"][name]), "the test would not notice"
        for process in (first, second):
            assert torch.equal(process["plans"][name], one["drawn"][name])
    torch.testing.assert_close(first["losses"], one["losses"], rtol=1e-5, atol=0)
    assert {name.split(".")[1] for name in one["gradients"]} == set(PLANS)
    assert first["gradients"].keys() == second["gradients"].keys() == one["gradients"].keys()
    for name, gradient in one["gradients"].items():
        scale = max(gradient.abs().max().item(), 1e-6)
        torch.testing.assert_close(first["gradients"][name], gradient, rtol=1e-4, atol=1e-5 * scale)
        assert torch.equal(first["gradients"][name], second["gradients"][name])


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_survives_files_copies_and_averages(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    detector = regard.insert(regard.load("odd-one-out"), name, after="p4", gate=False).eval()
    layer = detector.spec.layers[detector.spec.index(f"p4.{name.lower()}")].name
    plan = detector.layer(layer).get_buffer(PLANS[name]).clone()
    images = torch.rand(1, 3, 64, 96)
    average = Ema(detector, decay=0.5, tau=1)
    for _ in range(3):
        average.update(detector)
    regard.save(detector, tmp_path / "a.safetensors")
    torch.manual_seed(4)  # a plan drawn again would be another
    with torch.no_grad():
        expected = detector(images)
        for other in (regard.load(tmp_path / "a.safetensors").eval(), copy.deepcopy(detector), average.model):
            assert torch.equal(other.layer(layer).get_buffer(PLANS[name]), plan)
            assert all(map(torch.equal, other(images), expected))
