"""The Ray executor on a real cluster of several nodes, one of which dies in mid-study."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny_studies import Here, outcome, tiny_plan

from regard.ablate.executors import RayExecutor, RunResources, _check_room, complete
from regard.ablate.folder import is_over, is_running
from regard.ablate.study import run_study
from regard.errors import RegardError

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)


@pytest.fixture
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray")
    import ray
    from ray.cluster_utils import Cluster

    torch.set_num_threads(1)
    store = {"object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **store})
    workers = [cluster.add_node(num_cpus=1, resources={"desk": 1}, **store) for _ in range(2)]
    cluster.wait_for_nodes()
    cluster.killable = workers[0]
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
def test_a_node_that_dies_costs_nothing_but_its_epoch(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = tiny_plan(control="none", epochs=40, seeds=2, noise=True)
    executor = RayExecutor(cluster.address, RunResources(resources={"desk": 0.5}))
    folders = [tmp_path / "study" / "runs" / place / f"seed-{seed}"
               for seed in (0, 1) for place in ("base", "SE-reduction-4-p4", "noise")]  # fmt: skip
    seen: dict[str, Any] = {}

    def kill_a_node() -> None:
        def trained() -> list[Path]:
            return [f for f in folders if is_running(f) and epochs(f) >= 3 and not is_over(f)]

        while len(trained()) < 2:  # one on each node
            time.sleep(0.05)
        seen["before"] = {f: rows(f) for f in trained()}
        cluster.remove_node(cluster.killable, allow_graceful=False)

    killer = threading.Thread(target=kill_a_node, daemon=True)
    killer.start()
    study = run_study(plan, "study", executor=executor, threads=1, console=Console(quiet=True))
    killer.join(60)
    assert len(seen["before"]) == 2
    assert [run.status for run in study.runs] == ["finished"] * 6
    resumed = [f for f in folders if len(list((f / "tensorboard").iterdir())) > 1]
    for folder, before in seen["before"].items():
        # The clock is in every row, so an epoch that was trained again would differ. What was written last may be
        # of the epoch in progress: its weights come after its row.
        assert rows(folder)[: len(before) - 1] == before[:-1]
    assert len(resumed) == 1  # what ran on the node that died went on where it was, elsewhere
    expected = run_study(plan, "whole", executor=Here(), threads=1, console=Console(quiet=True))
    assert outcome(study) == outcome(expected)
    again = run_study(plan, "study", executor=executor, console=Console(quiet=True))
    assert outcome(again) == outcome(study)
    with pytest.raises(RegardError, match="asks for 3 GPU, and no node of the cluster has more than 0"):
        RayExecutor(cluster.address, RunResources(gpus=3))


def rows(folder: Path) -> list[str]:
    table = folder / "results.csv"
    return table.read_text().splitlines()[1:] if table.is_file() else []


def epochs(folder: Path) -> int:
    return len(rows(folder))


def test_where_there_is_no_cluster() -> None:
    pytest.importorskip("ray")
    with pytest.raises(RegardError, match="no Ray cluster at"):
        RayExecutor("127.0.0.1:1", RunResources())


def test_a_run_has_to_fit_on_one_node() -> None:
    nodes = [{"CPU": 2.0}, {"CPU": 2.0, "desk": 1.0}, {"CPU": 1.0, "GPU": 1.0}]
    _check_room(nodes, RunResources(cpus=2, resources={"desk": 0.5}))
    _check_room(nodes, RunResources(gpus=0.25))
    for asked, reported in (
        (RunResources(cpus=3), "asks for 3 CPU, and no node of the cluster has more than 2"),
        (RunResources(resources={"table": 1}), "asks for 1 table, and no node of the cluster has more than 0"),
        (RunResources(cpus=2, gpus=1), "no node of the cluster has 2 CPU and 1 GPU together"),
    ):
        with pytest.raises(RegardError, match=reported):
            _check_room(nodes, asked)
    with pytest.raises(RegardError, match="more than 0"):
        _check_room([], RunResources())


def test_a_node_that_cannot_see_the_folder_says_so(tmp_path: Path) -> None:
    assert "must be shared under the same path" in complete(str(tmp_path / "nowhere"), "", str(tmp_path), {})
