"""What the publisher of a model states of its start weights, against what its files record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import regard
from hub_stand_in import StandIn
from regard.errors import RegardError
from regard.graph.detector import Published
from regard.publish import model_card
from regard.publish.origin import Statement, describe_start, recorded
from regard.training.run import Run

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # its HTTP client's
DATA = "synthetic:context?train=4&val=2&test=0"
SETTINGS = {"epochs": 1, "imgsz": 64, "workers": 0, "plots": False, "verbose": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return regard.train(regard.load("odd-one-out"), DATA, folder=tmp_path_factory.mktemp("of") / "run", **SETTINGS)


def test_a_published_model_is_recorded_in_what_is_trained_from_it(hub: StandIn, tmp_path: Path) -> None:
    """Through the file on the Hub, edits, a training and its files; the licence is recorded, too."""
    regard.push_to_hub(regard.load("odd-one-out"), "you/first", license="cc-by-nc-4.0", from_scratch=True)
    edited = regard.insert("hf://you/first", "SE", after="p3")
    trained = regard.train(edited, DATA, folder=tmp_path / "run", **SETTINGS)
    regard.save(trained.model, tmp_path / "copy.safetensors")
    for source in (trained, tmp_path / "copy.safetensors", "hf://you/first"):
        for stated in ({"from_scratch": True}, {}, {"start": "x.pt", "start_license": "mit"}):
            with pytest.raises(RegardError, match=r"hf://you/first.*cc-by-nc-4\.0"):
                regard.push_to_hub(source, "me/odd", license="mit", **stated)
    named = {"start": "you/first", "start_license": "mit"}
    with pytest.raises(RegardError, match="was published under cc-by-nc-4"):
        regard.push_to_hub(trained, "me/odd", license="mit", **named)
    with pytest.raises(RegardError, match="cannot be published under mit"):
        regard.push_to_hub(trained, "me/odd", license="mit", start="you/first", start_license="MIT or CC-BY-NC-4.0")
    assert "me/odd" not in hub.files
    regard.push_to_hub(trained, "you/First", license="mit", from_scratch=True)  # its owner's new version
    regard.push_to_hub(trained, "me/odd", license="mit", **named, permission=True)
    card = hub.files["me/odd"]["README.md"].decode()
    assert (
        "Start weights: you/first, licence mit. hf://you/first was published under cc-by-nc-4.0. The publisher" in card
    )


@pytest.mark.parametrize("start", ["hf://you/first", "hf://you/first@v2/se.safetensors", "pre.safetensors"])
def test_the_start_that_a_run_records_counts_without_a_record_in_the_weights(
    run: Run, tmp_path: Path, start: str
) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    config = json.loads((folder / "run.json").read_text())
    config["environment"]["command"] = ["regard", "train", f"{start}"]
    (folder / "run.json").write_text(json.dumps(config))
    if start.startswith("hf:"):
        with pytest.raises(RegardError, match="hf://you/first"):
            model_card(run.model, "me/odd", license="mit", from_scratch=True, folder=folder)
        assert model_card(run.model, "you/first", license="mit", from_scratch=True, folder=folder)
    else:  # a file of this package, whose own record is that of the weights
        card = model_card(run.model, "me/odd", license="mit", from_scratch=True, folder=folder)
        assert "records no start weights, and neither does pre.safetensors, from which its training started" in card


@pytest.mark.parametrize("origin", ["yolov5n.pt", ""])
def test_weights_of_a_known_name_have_the_licence_of_their_owner(origin: str) -> None:
    model = regard.load("odd-one-out")
    model.origin = origin
    stated = {"start": "yolov5n.pt of v7.0", "start_license": "mit"}
    with pytest.raises(RegardError, match=r"yolov5n\.pt is stated under mit, but was published under agpl-3\.0"):
        model_card(model, "me/odd", license="mit", **stated)
    card = model_card(model, "me/odd", license="mit", **stated, permission=True)
    assert "yolov5n.pt was published under agpl-3.0. The publisher states" in card
    assert model_card(model, "me/odd", license="agpl-3.0", start="yolov5n.pt", start_license="GNU AGPL v3")
    if not origin:
        assert model_card(model, "me/odd", license="mit", start="my-yolov5n.pt", start_license="mit")


def test_a_record_of_a_file_that_is_none_is_ignored() -> None:
    assert Published.read({"address": "hf://me/a", "license": "mit", "more": 1}) == ("hf://me/a", "mit")
    for value in (None, 3, [], {}, {"address": "hf://me/a"}, {"address": 1, "license": "mit"}):
        assert Published.read(value) is None


def test_no_folder_of_the_run_s_machine_is_stated(run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    config = json.loads((folder / "run.json").read_text())
    config["environment"]["command"] = ["regard", "train", "C:\\anna\\pre.safetensors"]
    (folder / "run.json").write_text(json.dumps(config))
    assert "anna" not in describe_start(Statement("mit", from_scratch=True), recorded(run.model, folder, "me/odd"))
