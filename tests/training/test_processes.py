"""Two processes equal one with the same global batch."""

from __future__ import annotations

import atexit
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from tiny_runs import FAMILIES
from torch import Tensor, nn

import regard
from regard.config import AugmentSettings, LossSettings, TrainSettings, describe
from regard.data.formats import load_data
from regard.data.loader import TrainLoader
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.graph.user_modules import import_classes, import_modules
from regard.nn.heads import LossContext, identity_reduce, total_loss
from regard.system.files import claim_folder
from regard.training.prepare import freeze_bn_stats
from regard.training.processes import for_launcher, launch

DATA = "synthetic:context?train=8&val=2&test=0"


def losses_and_gradients(fabric: Fabric, name: str, state: dict[str, Tensor], out: Path) -> None:
    """One backward pass over the global batch of eight, by however many processes there are."""
    torch.set_num_threads(1)
    model = gated_model(name)
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


def gated_model(name: str = "odd-one-out") -> Detector:
    model = regard.insert(regard.load(name), "SE", after="p4")
    model.spec = replace(model.spec, file=None)
    return model


@pytest.mark.parametrize("name", ["odd-one-out", *(pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES)])
def test_two_processes_give_the_loss_and_gradients_of_one(tmp_path: Path, name: str) -> None:
    torch.manual_seed(7)
    state = gated_model(name).state_dict()
    results = []
    for devices in (1, 2):
        out = tmp_path / f"{devices}.pt"
        fabric = Fabric(accelerator="cpu", devices=devices, strategy="ddp_spawn" if devices > 1 else "auto")
        if devices > 1:
            fabric.launch(losses_and_gradients, name, state, out)  # type: ignore[arg-type]
        else:
            losses_and_gradients(fabric, name, state, out)
        results.append(torch.load(out, weights_only=True))
    one, two = results
    torch.testing.assert_close(two["total"], one["total"], rtol=1e-5, atol=0)
    assert one["gradients"].keys() == two["gradients"].keys()
    # A closed gate leaves no parameter without a gradient.
    assert any(key.endswith(".module.l1.weight") for key in one["gradients"])
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


class Torn:
    """Leaves a file if the interpreter is taken apart with this object in it."""

    def __init__(self, file: Path) -> None:
        self.file, self.open = str(file), os.open

    def __del__(self) -> None:
        self.open(self.file, os.O_CREAT)


def add_one(
    fabric: Fabric,
    *,
    layer: nn.Linear,
    callbacks: tuple[()],  # noqa: ARG001 - every run has them
    folder: Path,
    then: str,
) -> tuple[float, bytes]:
    """Change a weight in every process; what the first returns is larger than a pipe holds."""
    with torch.no_grad():
        layer.bias += 1
    fabric.barrier()
    if fabric.is_global_zero:
        atexit.register((folder / "atexit").touch)
        threading.Thread(target=lambda: (time.sleep(0.2), (folder / "thread").touch())).start()
        if then == "die":
            atexit.register(os.abort)
        sys.modules[__name__].torn = Torn(folder / "torn")  # type: ignore[attr-defined]
    if then == "be deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (folder / f"deaf-{fabric.global_rank}").touch()
        time.sleep(60)
    if then == "be interrupted":
        raise KeyboardInterrupt
    if then == "fail":
        raise regard.RegardError("the work fails", hint="do it again")
    return layer.bias.item(), bytes(100_003)


def added_in_two_processes(folder: Path, then: str) -> tuple[float, bytes]:
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.bias, 3.0)
    run = TrainSettings(devices=2, device="cpu")
    result = launch(run, add_one, layer=layer, callbacks=(), folder=folder, then=then)
    assert layer.bias.item() == 3
    return result


def test_a_large_result_arrives_each_process_has_its_own_tensors_and_ends_as_python_does(tmp_path: Path) -> None:
    assert added_in_two_processes(tmp_path, "") == (4, bytes(100_003))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["atexit", "thread"]


def test_a_process_that_dies_after_its_work_is_no_error(tmp_path: Path) -> None:
    assert added_in_two_processes(tmp_path, "die") == (4, bytes(100_003))


def test_an_error_of_the_user_in_another_process_is_the_same_here(tmp_path: Path) -> None:
    with pytest.raises(regard.RegardError, match="the work fails\n  do it again"):
        added_in_two_processes(tmp_path, "fail")


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX")
def test_no_process_outlives_an_interrupted_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.training.processes.END_SECONDS", 1)

    def interrupt() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background commands ignore it
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            added_in_two_processes(tmp_path, "be deaf")
    finally:
        signal.signal(signal.SIGINT, before)
    assert not active_children()


@pytest.mark.slow
def test_processes_that_are_interrupted_interrupt_the_run(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        added_in_two_processes(tmp_path, "be interrupted")


@pytest.mark.slow
def test_a_run_of_eighty_classes_in_two_processes(tmp_path: Path) -> None:
    labels, images = tmp_path / "labels", tmp_path / "images"
    labels.mkdir()
    images.mkdir()
    for i in range(4):
        Image.new("RGB", (64, 64), (17 * i, 99, 140)).save(images / f"{i}.png")
        boxes = [f"{20 * i + k} {0.1 + 0.04 * k} 0.5 0.13 0.17" for k in range(20)]
        (labels / f"{i}.txt").write_text("\n".join(boxes))
    data = tmp_path / "data.yaml"
    data.write_text(json.dumps({"train": "images", "val": "images", "names": [f"class {i}" for i in range(80)]}))
    settings = {"epochs": 1, "batch": 4, "imgsz": 64, "workers": 0, "plots": False, "devices": 2, "device": "cpu"}
    run = regard.train(gated_model(), data, folder=tmp_path / "run", verbose=False, **settings)
    assert len(run.metrics.per_class) == 80
    assert len(pickle.dumps(run.metrics)) > 2**16


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
settings = dict(epochs=1, batch=4, imgsz=64, workers=0, plots=False, device="cpu", verbose=False)
for case in (dict(devices=3), dict(devices=1), dict(folder=sys.argv[1])):
    try:
        regard.train(model, data, **settings, **case)
    except regard.RegardError as error:
        say(f"rank {rank} rejects {error.what}")
run = regard.train(model, data, callbacks=[Note()], **settings)
say(f"rank {rank} is in {run.folder.as_posix()}")
values = [p.double().sum().item() for p in run.model.parameters()]
say(f"rank {rank} found {run.metrics.images} {run.metrics.ap!r} {sum(values)!r}")
"""


def test_under_torchrun_the_first_process_claims_and_finishes_and_all_have_the_result(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(UNDER_TORCHRUN)
    with claim_folder(tmp_path / "taken") as taken:
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script), str(taken)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    lines = sorted(line for line in done.stdout.splitlines() if line.startswith("rank"))
    rejected = "rejects the run has devices=%s, but the launcher has started 2 processes"
    assert [line for line in lines if "found" not in line] == [
        "rank 0 ends on cpu", "rank 0 is in runs/train", "rank 0 rejects another command works in this folder",
        f"rank 0 {rejected % 1}", f"rank 0 {rejected % 3}", "rank 0 writes metrics.json", "rank 0 writes run.json",
        "rank 1 is in runs/train", "rank 1 rejects another command works in this folder",
        f"rank 1 {rejected % 1}", f"rank 1 {rejected % 3}",
    ]  # fmt: skip
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.name != "image-cache"] == ["train"]
    results = [line.split(" found ")[1] for line in lines if " found " in line]
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


def test_a_script_without_a_guard_is_an_error_and_not_a_wait(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import regard\n"
        "data = 'synthetic:context?train=4&val=2&test=0'\n"
        "regard.train('yolov5n', data, devices=2, epochs=1, imgsz=64, batch=2, workers=0, device='cpu', plots=False)\n",
        encoding="utf-8",
    )
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert 'if __name__ == "__main__"' in done.stderr


def test_several_devices_are_rejected_in_a_notebook_before_model_and_data_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.training.processes.in_notebook", lambda: True)
    with pytest.raises(RegardError, match="cannot be started from a cell"):
        regard.train("no-such-model", tmp_path / "no-data.yaml", folder=tmp_path / "run", devices=2)
    assert for_launcher(TrainSettings(devices=1)).devices == 1
    begun = {"settings": describe(TrainSettings(devices=2)), "data": {"source": "no-data.yaml"}}
    (tmp_path / "run.json").write_text(json.dumps(begun), encoding="utf-8")
    for asked in ({"devices": 2}, {}):
        with pytest.raises(RegardError, match="cannot be started from a cell") as raised:
            regard.resume(tmp_path, data="moved data", **asked)
        assert f'!regard train --resume "{tmp_path}" --data "moved data" --devices 2' in (raised.value.hint or "")
    with pytest.raises(RegardError, match="does not exist"):
        regard.resume(tmp_path, devices=1)
    monkeypatch.setattr("regard.training.processes.launched_processes", lambda: 2)
    assert for_launcher(TrainSettings(devices=2)).devices == 2
