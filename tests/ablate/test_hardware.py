"""What a machine computes on, with and without a GPU."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny_studies import Here, tiny_plan

from regard.ablate.executors import RayExecutor, RunResources
from regard.ablate.folder import StudyFolder, read_json
from regard.ablate.hardware import Hardware, describe_device, device_here, hardware_here
from regard.ablate.processes import peak_mib
from regard.ablate.study import run_study
from regard.errors import RegardError


@pytest.mark.parametrize(
    ("asked", "has_gpu", "here", "reported"),
    [
        ("cpu", True, "cpu", "cpu"),
        ("auto", False, "cpu", "cpu"),
        ("auto", True, "cuda", "cuda (Card 7)"),
        ("cuda", True, "cuda", "cuda (Card 7)"),
        ("cuda", False, "cpu", "cpu, as the machine that measured has no cuda"),
        ("mps", True, "cpu", "cpu, as the machine that measured has no mps"),
    ],
)
def test_the_device_of_a_machine(
    asked: str, has_gpu: bool, here: str, reported: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card 7")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device_here(asked) == here
    assert describe_device(asked) == reported


def test_what_auto_means_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert hardware_here({"precision": "auto"}) == Hardware("cuda", "bf16", 2)
    assert hardware_here({"precision": "fp16", "workers": 5}) == Hardware("cuda", "fp16", 5)
    monkeypatch.setattr("regard.training.precision._capabilities", lambda: {"amx_bf16": True})
    assert hardware_here({"precision": "auto", "device": "cpu"}) == Hardware("cpu", "bf16", 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert hardware_here({"precision": "32"}) == Hardware("cpu", "32", 0)
    with pytest.raises(RegardError, match="device 'cuda' is asked for, and torch sees no"):
        hardware_here({"device": "cuda"})


def test_the_memory_of_a_run_is_that_of_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 7 * 2**20)
    assert peak_mib("cuda") == peak_mib("auto") == 7
    assert peak_mib("cpu") > 100


def test_a_study_settles_it_once_for_all_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes of a cluster may differ, and so may the machine that goes on with a study."""
    torch.set_num_threads(1)

    class Other(Here):
        def hardware(self, _: Mapping[str, Any]) -> Hardware:
            return Hardware("cpu", "bf16", 1)

    class Stopped(Other):
        def run(self, _):  # type: ignore[no-untyped-def]
            raise KeyboardInterrupt

    plan, folder = tiny_plan(control="none", seeds=[0], train={"precision": "auto"}), tmp_path / "study"
    with pytest.raises(KeyboardInterrupt):
        run_study(plan, folder, executor=Stopped(), console=Console(quiet=True))
    jobs = [read_json(file)["arguments"]["settings"] for file in sorted(folder.rglob("job.json"))]
    assert [(job["device"], job["precision"], job["workers"]) for job in jobs] == [("cpu", "bf16", 1)] * 2
    first, second = sorted(folder.rglob("job.json"))
    untouched, sound = first.stat().st_ino, read_json(second)
    changed = {**sound, "trainable": {**sound["trainable"], "module": "evil", "file": "evil.py"}}
    for damage in (changed, {}, None, {**sound, "device": "cuda"}):
        second.write_text(json.dumps(damage))
        with pytest.raises(KeyboardInterrupt):
            run_study(plan, folder, executor=Stopped(), console=Console(quiet=True))
        assert read_json(second) == sound
    assert first.stat().st_ino == untouched
    (folder / "runs" / "base" / "seed-0" / "job.json").unlink()
    monkeypatch.setattr(Other, "hardware", Here.hardware)
    with pytest.raises(KeyboardInterrupt):
        run_study(plan, folder, executor=Stopped(), console=Console(quiet=True))
    assert read_json(folder / "runs" / "base" / "seed-0" / "job.json")["arguments"]["settings"]["precision"] == "bf16"
    document = StudyFolder(folder).read()
    assert document["provenance"]["hardware"] == {"device": "cpu", "precision": "bf16", "workers": 1}
    document["provenance"]["hardware"]["device"] = "mps"
    StudyFolder(folder).write(document)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(RegardError, match="this study began on mps, and there is none here"):
        run_study(plan, folder, console=Console(quiet=True))


@pytest.mark.parametrize(("gpus", "device"), [(0.0, "cpu"), (0.25, "cuda")])
def test_a_cluster_reports_what_a_node_with_the_runs_resources_has(
    gpus: float, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def remote(**options: Any) -> Any:
        asked.append(options)
        return lambda function: SimpleNamespace(remote=function)

    nodes = [{"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0, "desk": 1.0}}]
    ray = SimpleNamespace(
        remote=remote, get=lambda found: found, nodes=lambda: nodes, exceptions=SimpleNamespace(RayError=OSError)
    )
    monkeypatch.setattr("regard.ablate.executors._connected", lambda _: ray)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    executor = RayExecutor("auto", RunResources(cpus=3, gpus=gpus, resources={"desk": 0.5}))
    found = executor.hardware({"precision": "auto"})
    assert found.device == device
    assert (found.precision, found.workers) == ("bf16", 2) or device == "cpu"
    assert [(o["num_cpus"], o["num_gpus"], o["resources"]) for o in asked] == [(3, gpus, {"desk": 0.5})]
