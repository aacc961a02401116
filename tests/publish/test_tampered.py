"""What is damaged, foreign or hostile: run folders, files and answers of the Hub. Nothing of it is published."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import regard
from hub_stand_in import StandIn
from regard.errors import RegardError
from regard.evaluation.metrics import HEADLINE
from regard.publish import model_card
from regard.publish.facts import Metrics

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # its HTTP client's
DATA = "synthetic:context?train=7&val=3&test=0"
SCRATCH: dict[str, Any] = {"license": "apache-2.0", "from_scratch": True}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "run"
    regard.train("odd-one-out", DATA, folder=folder, epochs=1, imgsz=64, workers=0, plots=False, verbose=False)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "run")


def change(file: Path, keys: str, value: Any) -> None:
    document = json.loads(file.read_text())
    *path, last = keys.split(".")
    part = document
    for key in path:
        part = part[key]
    part[last] = value
    file.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        *(("metrics.json:ap", value) for value in (2.0, -1, float("nan"), "0.9", True)),
        ("metrics.json:epoch", 99),
        ("metrics.json:images", -3),
        ("metrics.json:per_class", [{"name": "cat", "labels": 3}]),
        ("metrics.json:per_class", [{"name": "cat", "labels": -3}]),
        ("run.json:settings.epochs", None),
        ("run.json:settings.epochs", 0),
        ("run.json:data.splits.val.images", -1),
    ],
)
def test_values_that_contradict_the_run_are_rejected(hub: StandIn, run: Path, keys: str, value: Any) -> None:
    file, _, key = keys.partition(":")
    change(run / file, key, value)
    with pytest.raises(RegardError):
        regard.push_to_hub(run, "me/odd", **SCRATCH)
    assert not hub.files


def test_a_table_of_another_run_is_rejected(hub: StandIn, run: Path) -> None:
    (run / "results.csv").write_text("epoch,val/ap\n999,0.99\n")
    with pytest.raises(RegardError, match="999 epochs were trained of 1"):
        regard.push_to_hub(run, "me/odd", **SCRATCH)
    assert not hub.files


@pytest.mark.parametrize("other", ["yolov5n", "odd-one-out"])
def test_metrics_of_other_weights_are_rejected(hub: StandIn, run: Path, other: str) -> None:
    regard.save(regard.load(other), run / "best.safetensors")
    with pytest.raises(RegardError, match=r"the metrics are of epoch 1, and best\.safetensors is not of a training"):
        regard.push_to_hub(run, "me/odd", **SCRATCH)
    assert not hub.files


@pytest.mark.parametrize("name", ["best.safetensors", "run.json", "metrics.json", "results.csv"])
def test_nothing_that_a_link_leads_to_is_published(hub: StandIn, run: Path, name: str) -> None:
    (run / name).rename(run / "elsewhere")
    (run / name).symlink_to(run / "elsewhere")
    with pytest.raises(RegardError, match="this is a link"):
        regard.push_to_hub(run, "me/odd", **SCRATCH)
    assert not hub.files


def test_a_run_that_has_not_ended_is_named(hub: StandIn, run: Path) -> None:
    (run / "metrics.json").unlink()
    with pytest.raises(RegardError, match=r"has not ended(.|\n)*--resume"):
        regard.push_to_hub(run, "me/odd", **SCRATCH)
    assert not hub.files


def test_without_a_table_no_number_of_epochs_is_claimed(run: Path) -> None:
    (run / "results.csv").unlink()
    assert "Trained for at most 1 epoch at" in model_card(regard.load(run), "me/odd", **SCRATCH, folder=run)


def test_classes_without_labels_are_counted_and_left_out(run: Path) -> None:
    names = list(regard.load(run).names.values())
    measured = [{"name": name, "labels": 5 * (name == names[0]), "ap": 0.5} for name in names]
    change(run / "metrics.json", "per_class", measured)
    card = model_card(regard.load(run), "me/odd", **SCRATCH, folder=run)
    assert f"{len(names) - 1} of {len(names)} classes have no labels in this split and are left out." in card
    assert "| AP |" in card
    assert "| AP of small objects |" in card or json.loads((run / "metrics.json").read_text())["ap_small"] is None
    assert "ap_small |" not in card


def test_every_metric_of_a_run_is_known_to_the_card() -> None:
    assert set(HEADLINE) <= set(Metrics.model_fields)


class Evil:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.mkdir, (str(self.file),)  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["x.pt", "x.pth", "x.ckpt", "model.safetensors", "x.onnx"])
@pytest.mark.parametrize("form", ["pickle", "archive"])
def test_a_program_from_the_hub_is_never_run(hub: StandIn, tmp_path: Path, name: str, form: str) -> None:
    evil, file = Evil(tmp_path / "ran"), io.BytesIO()
    torch.save({"model": evil}, file)
    hub.files["me/odd"] = {name: pickle.dumps(evil) if form == "pickle" else file.getvalue()}
    with pytest.raises(RegardError):
        regard.load(f"hf://me/odd/{name}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("repository", ["odd", "", "me/odd/x", "../odd", "hf://me/odd", "me/o\ndd", "https://h.co/a/b"])
def test_what_is_no_repository_is_rejected_before_anything_is_asked(hub: StandIn, repository: str) -> None:
    with pytest.raises(RegardError, match="owner/name"):
        regard.push_to_hub(regard.load("odd-one-out"), repository, **SCRATCH)
    assert not hub.asked


def test_a_public_repository_does_not_get_a_private_model(hub: StandIn) -> None:
    model = regard.load("odd-one-out")
    regard.push_to_hub(model, "me/open", **SCRATCH, private=False)
    before = dict(hub.files["me/open"])
    with pytest.raises(RegardError, match=r"is public(.|\n)*--no-private"):
        regard.push_to_hub(regard.insert(model, "SE", after="p3"), "me/open", **SCRATCH)
    assert hub.files["me/open"] == before
    regard.push_to_hub(model, "me/own", **SCRATCH)
    regard.push_to_hub(model, "me/own", **SCRATCH)  # again, to one that is private


@pytest.mark.parametrize(
    ("part", "answer"),
    [("repos/create", {}), ("preupload", []), ("objects/batch", []), ("/commit/", {}), ("/commit/", b"<html>")],
)
def test_an_answer_of_no_hub_is_an_error(hub: StandIn, part: str, answer: Any) -> None:
    hub.instead[part] = answer
    with pytest.raises(RegardError, match="cannot be uploaded"):
        regard.push_to_hub(regard.load("odd-one-out"), "me/odd", **SCRATCH)


def test_the_reason_says_what_is_missing(hub: StandIn) -> None:
    hub.files["me/odd"] = {}
    with pytest.raises(RegardError, match="Repository Not Found"):
        regard.load("hf://me/none")
    with pytest.raises(RegardError, match="Entry Not Found"):
        regard.load("hf://me/odd")


def test_what_is_missing_here_is_not_called_untrained(hub: StandIn, tmp_path: Path) -> None:
    with pytest.raises(RegardError):  # and no warning, which would be an error
        regard.push_to_hub(tmp_path / "none.pt", "me/odd", **SCRATCH)
    assert not hub.asked
