"""Models on the Hub: uploaded with a card that is true and gives nothing away, and loaded by their address."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import regard
from hub_stand_in import StandIn
from regard.ablate.folder import StudyRecord
from regard.ablate.plan import read_plan
from regard.ablate.study import run_study
from regard.errors import RegardError
from regard.graph.read import read_spec
from regard.publish import model_card
from regard.publish.study import UNCOMPARED
from regard.training.run import Run
from regard.weights import hub as hub_files
from regard.weights.store import load_weights, save_weights

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # its HTTP client's
DATA = "synthetic:context?train=7&val=3&test=0"
SCRATCH: dict[str, Any] = {"license": "apache-2.0", "from_scratch": True}


def fake_study(folder: Path) -> StudyRecord:
    """A study of `tests/ablate`, without its runs."""
    sys.path.insert(0, str(Path(__file__).parent / "ablate"))
    from fake_study import fake_study as of_ablate

    return of_ablate(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    model = regard.insert(regard.load("odd-one-out"), "SE", after="p3")
    folder = tmp_path_factory.mktemp("home-of-anna") / "run"
    return regard.train(model, DATA, folder=folder, epochs=1, imgsz=64, workers=0, plots=False, verbose=False)


def test_what_is_pushed_is_what_is_loaded(hub: StandIn, run: Run) -> None:
    address = regard.push_to_hub(run, "me/odd", **SCRATCH)
    assert address.endswith("/me/odd")
    assert hub.private == {"me/odd": True}
    files = hub.files["me/odd"]
    assert sorted(files) == ["README.md", "metrics.json", "model.safetensors", "results.csv"]
    for source in ("hf://me/odd", "hf://me/odd@main/model.safetensors"):
        loaded = regard.load(source)
        assert loaded.names == run.model.names
        assert all(torch.equal(value, run.model.state_dict()[key]) for key, value in loaded.state_dict().items())
    image = np.zeros((61, 67, 3), np.uint8)
    assert regard.predict("hf://me/odd", image, imgsz=64) == regard.predict(run.model, image, imgsz=64)


def test_a_run_without_its_table_is_published(hub: StandIn, run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.folder, tmp_path / "run")
    (copy / "results.csv").unlink()
    regard.push_to_hub(copy, "me/odd", **SCRATCH)
    assert sorted(hub.files["me/odd"]) == ["README.md", "metrics.json", "model.safetensors"]


def test_what_a_link_in_a_run_leads_to_is_not_published(hub: StandIn, run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "secret").write_text("epoch\n1\n")
    (copy / "results.csv").unlink()
    (copy / "results.csv").symlink_to(tmp_path / "secret")
    with pytest.raises(RegardError, match="link"):
        regard.push_to_hub(copy, "me/odd", **SCRATCH)
    assert not hub.files


@pytest.mark.parametrize(
    ("file", "content"),
    [
        *(("run.json", text) for text in ('{"data": 7}', '{"settings": []}', '{"data": {"splits": {"val": 3}}}', "[]")),
        *(("metrics.json", text) for text in ('{"per_class": [1]}', '{"split": 3}', '{"per_class": {"a": 1}}', "{")),
    ],
)
def test_a_damaged_run_is_named_and_not_published(
    hub: StandIn, run: Run, tmp_path: Path, file: str, content: str
) -> None:
    copy = shutil.copytree(run.folder, tmp_path / "run")
    (copy / file).write_text(content)
    with pytest.raises(RegardError) as error:
        regard.push_to_hub(copy, "me/odd", **SCRATCH)
    assert file in str(error.value)
    assert not hub.files


def test_the_card_states_data_metrics_licences_and_gates(run: Run) -> None:
    card = model_card(
        run.model, "me/odd", license="agpl-3.0", start="yolov5n.pt", start_license="agpl-3.0", folder=run.folder
    )
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "agpl-3.0"
    assert head["pipeline_tag"] == "object-detection"
    result = head["model-index"][0]["results"][0]
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values["ap"] == run.metrics.ap
    assert "val 3 images" in card
    assert "train 7 images" in card
    assert "yolov5n.pt, licence agpl-3.0" in card
    assert f"{run.gates['p3.se']:+.4f}" in card
    assert all(name.replace("_", "\\_") in card for name in run.model.names.values())


def test_a_card_claims_no_origin_that_nobody_stated(run: Run) -> None:
    assert "from scratch" in model_card(run.model, "me/odd", **SCRATCH)
    with pytest.warns(regard.RegardWarning, match="start weights"):
        card = model_card(run.model, "me/odd", license="mit")
    assert "from scratch" not in card
    assert "not stated" in card


def test_random_weights_are_not_published_without_a_word(hub: StandIn) -> None:
    with pytest.warns(regard.RegardWarning, match="odd-one-out has no trained weights"):
        regard.push_to_hub("odd-one-out", "me/odd", **SCRATCH)
    assert hub.files["me/odd"]


def test_a_study_of_another_model_or_of_other_data_is_rejected(run: Run) -> None:
    results = Path(__file__).parents[1] / "docs" / "results"
    with pytest.raises(RegardError, match=r"no variant of the study"):
        model_card(run.model, "me/odd", **SCRATCH, study=results / "demo")
    plain = regard.load(results / "demo" / "models" / "base.yaml")
    plain.names = run.model.names
    card = model_card(plain, "me/odd", **SCRATCH, study=results / "demo")
    assert "The study behind it" in card
    assert UNCOMPARED not in card
    with pytest.raises(RegardError, match="1000"):  # images
        model_card(plain, "me/odd", **SCRATCH, study=results / "demo", folder=run.folder)


def test_the_card_states_the_epochs_that_were_trained(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "early"
    shutil.copytree(run.folder, folder)
    document = json.loads((folder / "run.json").read_text())
    document["settings"]["epochs"] = 300
    (folder / "run.json").write_text(json.dumps(document))
    card = model_card(run.model, "me/odd", **SCRATCH, folder=folder)
    assert "Trained for 1 of 300 planned epochs" in card
    assert "The weights are those of epoch 1." in card
    assert "planned" not in model_card(run.model, "me/odd", **SCRATCH, folder=run.folder)


def test_nothing_of_this_machine_is_published(hub: StandIn, run: Run) -> None:
    regard.push_to_hub(run.folder, "me/odd", **SCRATCH)
    for name, data in hub.files["me/odd"].items():
        text = data[: 10 + int.from_bytes(data[:8], "little")] if name.endswith(".safetensors") else data
        for secret in (b"home-of-anna", str(Path.cwd()).encode(), os.uname().nodename.encode(), b"pytest"):
            assert secret not in text, name


def test_the_study_behind_it_is_told_as_in_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from regard.ablate.format import headline
    from regard.ablate.verdict import analyse

    study = fake_study(tmp_path)
    monkeypatch.setattr("regard.publish.study.read_study", lambda folder: study if folder == tmp_path else None)
    card = model_card(regard.load("odd-one-out"), "me/odd", **SCRATCH, study=str(tmp_path))
    assert headline(study, analyse(study)).partition("<")[0].partition(" ")[0] in card
    assert "can't tell" in card
    assert UNCOMPARED in card
    assert "<b>" not in card.replace("\\<b\\>", "")  # names are text
    assert sum(line.startswith("| ") for line in card.splitlines()) == 1 + len(analyse(study).judgements)


@pytest.mark.parametrize(
    ("license", "start", "start_license", "expected"),
    [
        ("apache-2.0", "yolov5n.pt", "agpl-3.0", "agpl"),
        ("mit", "x.pt", "GPL-3.0", "GPL"),
        ("apache-2.0", "yolov5n.pt", None, "start_license"),
        ("apache-2.0", None, "mit", "start"),
        ("apache-2.0", "x.pt", "mit", "scratch"),
    ],
)
def test_licences_that_contradict_each_other_are_rejected(
    license: str, start: str | None, start_license: str | None, expected: str
) -> None:
    given = {"license": license, "start": start, "start_license": start_license}
    with pytest.raises(RegardError, match=expected):
        regard.push_to_hub("odd-one-out", "me/odd", **given, from_scratch=expected == "scratch")


def test_start_weights_that_a_file_records_are_stated(hub: StandIn, tmp_path: Path) -> None:
    """Where they come from is kept through edits, classes, training and files."""
    model = regard.load("odd-one-out")
    model.origin = "best_of_others.pt"
    edited = regard.insert(model, "SE", after="p3")
    trained = regard.train(edited, DATA, folder=tmp_path / "run", epochs=1, imgsz=64, workers=0, plots=False)
    regard.save(trained.model, tmp_path / "copy.safetensors")
    for source in (trained, trained.folder, tmp_path / "copy.safetensors", edited):
        for stated in ({"start": None}, {"start": "yolov5n.pt", "start_license": "mit"}):
            with pytest.raises(RegardError, match=r"best_of_others\.pt"):
                regard.push_to_hub(source, "me/odd", license="mit", **stated)
    assert not hub.files
    licences = {"start": "Best_of_others of YOLOv5", "start_license": "mit"}
    regard.push_to_hub(trained, "me/odd", license="mit", **licences)
    assert regard.load("hf://me/odd").origin == "best_of_others.pt"
    assert regard.load("hf://me/odd").published == ("hf://me/odd", "mit")


def test_the_card_itself_rejects_another_origin(run: Run) -> None:
    model = regard.insert(run.model, "ECA", after="p3")
    model.origin = "best_of_others.pt"
    for stated in ({}, {"from_scratch": True}, {"start": "yolov5n.pt", "start_license": "mit"}):
        with pytest.raises(RegardError, match=r"best_of_others\.pt"):
            model_card(model, "me/odd", license="mit", **stated)


def test_a_run_that_does_not_record_its_origin_is_not_said_to_be_from_scratch(run: Run, tmp_path: Path) -> None:
    """As one of an older version, or of weights that were made elsewhere."""
    recorded = model_card(run.model, "me/odd", **SCRATCH, folder=run.folder)
    assert "records no start weights." in recorded
    state, header = load_weights(run.folder / "best.safetensors")
    save_weights(tmp_path / "old.safetensors", state, header.model_copy(update={"extra": {}}))
    old = regard.load(tmp_path / "old.safetensors")
    assert old.origin is None
    assert "does not say" in model_card(old, "me/odd", **SCRATCH, folder=run.folder)
    regard.save(old, tmp_path / "again.safetensors")
    assert regard.load(tmp_path / "again.safetensors").origin is None
    folder = shutil.copytree(run.folder, tmp_path / "run")
    config = json.loads((folder / "run.json").read_text())
    for command, rejected in ((["odd-one-out"], False), (["others.pt"], True), (["x.yaml", "--weights", "x.pt"], True)):
        config["environment"]["command"] = ["regard", "train", *command]
        (folder / "run.json").write_text(json.dumps(config))
        with pytest.raises(RegardError, match="started from") if rejected else nullcontext():
            model_card(old, "me/odd", **SCRATCH, folder=folder)


@pytest.mark.parametrize("base", ["yolov5s", "yolov8n"])
def test_a_study_of_a_larger_or_another_base_is_rejected(tmp_path: Path, base: str) -> None:
    """Their rows may be equal: only the multiples differ."""
    study = shutil.copytree(Path(__file__).parents[1] / "docs" / "results" / "demo", tmp_path / "study")
    document = json.loads((study / "study.json").read_text())
    document["provenance"]["data"]["names"] = list(regard.load("yolov5n").names.values())
    (study / "study.json").write_text(json.dumps(document))
    for file in (study / "models").iterdir():
        file.write_text(read_spec(base).to_yaml())
    with pytest.raises(RegardError, match="no variant"):
        model_card(regard.load("yolov5n"), "me/odd", **SCRATCH, study=study)
    for file in (study / "models").iterdir():
        file.write_text(read_spec("yolov5n").to_yaml())
    assert "The study behind it" in model_card(regard.load("yolov5n"), "me/odd", **SCRATCH, study=study)
    document["plan"]["weights"] = "yolov5n.pt"
    (study / "study.json").write_text(json.dumps(document))
    with pytest.raises(RegardError, match="no weights"):
        model_card(regard.load("yolov5n"), "me/odd", **SCRATCH, study=study)


def test_a_study_of_other_classes_is_not_behind_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = regard.load("odd-one-out")
    for names in (list(model.names.values()), ["cat", "dog"]):
        study = replace(fake_study(tmp_path), provenance={"data": {"names": names}})
        monkeypatch.setattr("regard.publish.study.read_study", lambda _, found=study: found)
        if "cat" not in names:
            assert "The study behind it" in model_card(model, "me/odd", **SCRATCH, study=tmp_path)
    with pytest.raises(RegardError, match="cat, dog"):
        model_card(model, "me/odd", **SCRATCH, study=tmp_path)


@pytest.mark.parametrize("source", ["hf://me/none", "hf://me/odd/none.pt", "hf://me/odd@v7/model.safetensors"])
def test_what_is_not_there_is_an_error(hub: StandIn, source: str) -> None:
    hub.files["me/odd"] = {}
    with pytest.raises(RegardError, match="Hub") as found:
        regard.load(source)
    assert ("hf auth login" in str(found.value)) == (source == "hf://me/none")


def test_results_of_an_earlier_model_do_not_stay(hub: StandIn, run: Run) -> None:
    regard.push_to_hub(run, "me/odd", **SCRATCH)
    assert {"metrics.json", "results.csv"} & hub.files["me/odd"].keys()
    hub.files["me/odd"]["notes.txt"] = b"kept"
    regard.push_to_hub(run, "me/odd", **SCRATCH)
    assert {"metrics.json", "results.csv"} & hub.files["me/odd"].keys()
    regard.push_to_hub(regard.load("odd-one-out"), "me/odd", **SCRATCH)
    assert not {"metrics.json", "results.csv"} & hub.files["me/odd"].keys()
    assert hub.files["me/odd"]["notes.txt"] == b"kept"


def test_a_rejected_upload_is_an_error(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_bad")
    with pytest.raises(RegardError, match="HF_TOKEN"):
        regard.push_to_hub(regard.load("odd-one-out"), "me/odd", **SCRATCH)
    assert not hub.files


def test_no_connection_is_an_error(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the port on which nothing listens
    with pytest.raises(RegardError, match="cannot be uploaded"):
        regard.push_to_hub(regard.load("odd-one-out"), "me/odd", **SCRATCH)
    assert not hub.files


def test_a_damaged_file_is_an_error_as_everywhere(hub: StandIn) -> None:
    hub.files["me/odd"] = {"model.safetensors": b"no weights"}
    for read in (regard.load, lambda source: regard.diff("odd-one-out", source, imgsz=64)):
        with pytest.raises(RegardError, match=r"model\.safetensors"):
            read("hf://me/odd")


@pytest.mark.parametrize("kind", ["plan", "overlay", "file"])
def test_an_address_in_a_file_contacts_nobody(hub: StandIn, kind: str, tmp_path: Path) -> None:
    hub.files["me/odd"] = {"model.safetensors": b""}
    file = tmp_path / "it.yaml"
    text = {"plan": f"base: hf://me/odd\ndata: {DATA}\ninsert: [SE@p3]\nepochs: 1\n", "overlay": "base: hf://me/odd\n"}
    file.write_text(text.get(kind, "hf://me/odd\n"))
    read = partial(run_study, read_plan(file, {}), tmp_path / "study") if kind == "plan" else partial(regard.load, file)
    with pytest.raises(RegardError):
        read()
    assert not hub.asked


@pytest.mark.slow
def test_the_command_pushes_and_predicts(hub: StandIn, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "hf_good"}
    environment["HF_HUB_DISABLE_XET"] = "1"

    def regard_command(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "regard", *arguments]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = regard_command("push", "odd-one-out", "me/odd", "--license", "apache-2.0", "--no-private")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("/me/odd")
    assert hub.private == {"me/odd": False}
    done = regard_command("summary", "hf://me/odd", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["nc"] == 2
    assert not [path for path in tmp_path.iterdir() if path.name != "hf"]  # no left-overs
    done = regard_command("summary", "hf://me/none")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_without_the_package_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_files, "find_spec", lambda _: None)
    with pytest.raises(RegardError, match=r"regard\[hub\]"):
        regard.load("hf://me/odd")
