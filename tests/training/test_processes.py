"""Two processes equal one with the same global batch."""

from __future__ import annotations

import subprocess
import sys
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
from regard.graph.user_modules import import_classes, import_modules
from regard.nn.heads import LossContext, identity_reduce, total_loss
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
    levels = wrapped(batch.images.float() / 255)
    losses = model.head.criterion(levels, batch.targets, LossContext(LossSettings(), 128, sum_over_processes=reduce))
    own = total_loss(losses, batch.total_images)
    fabric.backward(own)
    total = fabric.all_reduce(own.detach(), reduce_op="mean")
    if fabric.is_global_zero:
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        torch.save({"total": total, "gradients": gradients}, out)
    if fabric.world_size > 1:  # a process that ends while threads of its group still run may abort
        fabric.barrier()
        torch.distributed.destroy_process_group()


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


USER_FILE = """
import os
import regard
from torch import nn

class Half(nn.Module):
    def __init__(self, in_channels):
        super().__init__()

    def forward(self, x):
        return x / 2

class Note(regard.Callback):
    def on_run_end(self, event):
        (event.folder / f"note-{os.environ['LOCAL_RANK']}").write_text(str(event.metrics.images))
"""


def test_a_run_in_two_processes_keeps_one_folder_and_knows_the_users_file(tmp_path: Path) -> None:
    file = tmp_path / "own_parts.py"
    file.write_text(USER_FILE)
    (callback,) = import_classes([str(file)], regard.Callback, "callback").values()
    (layer,) = import_modules([f"{file}:Half"]).values()
    model = regard.insert(gated_model(), layer, after="p4", gate=False)
    settings = {"epochs": 1, "batch": 4, "imgsz": 128, "workers": 0, "plots": False, "devices": 2}
    run = regard.train(model, DATA, folder=tmp_path / "run", device="cpu", callbacks=[callback()], **settings)
    assert run.metrics.images == 2
    assert isinstance(run.model.layer("p4.half"), layer)
    assert not run.model.training
    assert [(note.name, note.read_text()) for note in run.folder.glob("note-*")] == [("note-0", "2")]


def test_a_callback_that_cannot_be_sent_is_named_at_once(tmp_path: Path) -> None:
    class Local(regard.Callback):
        pass

    with pytest.raises(regard.RegardError, match="the callback Local cannot be sent to another process"):
        regard.train(gated_model(), DATA, folder=tmp_path, device="cpu", devices=2, imgsz=128, callbacks=[Local()])


UNDER_TORCHRUN = """
import os, sys
import regard
from regard.training.folder import RunFolder

rank, write = os.environ["RANK"], RunFolder.write_json

def say(text):
    os.write(1, f"{text}\\n".encode())  # in one piece, as both processes write to the same pipe

class Note(regard.Callback):
    def on_run_end(self, event):
        say(f"rank {rank} ends on {next(event.model.parameters()).device}")

def noted(self, name, document):
    say(f"rank {rank} writes {name}")
    write(self, name, document)

RunFolder.write_json = noted
model, data = regard.load("odd-one-out"), "synthetic:context?train=8&val=3&test=0"
settings = dict(epochs=1, batch=4, imgsz=64, workers=0, plots=False, devices=2, device="cpu", verbose=False)
run = regard.train(model, data, folder=sys.argv[1], callbacks=[Note()], **settings)
values = [p.double().sum().item() for p in run.model.parameters()]
say(f"rank {rank} has {run.metrics.images} {run.metrics.ap!r} {sum(values)!r}")
"""


def test_under_torchrun_the_first_process_alone_finishes_and_all_have_the_result(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(UNDER_TORCHRUN)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        str(script),
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    lines = sorted(line for line in done.stdout.splitlines() if line.startswith("rank"))
    assert [line for line in lines if "has" not in line] == [
        "rank 0 ends on cpu", "rank 0 writes metrics.json", "rank 0 writes run.json",
    ]  # fmt: skip
    results = [line.split(" has ")[1] for line in lines if " has " in line]
    assert len(results) == 2
    assert results[0] == results[1]
    assert results[0].startswith("3 ")


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
