"""What the model card says of the study behind a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import regard
from regard.graph.detector import Detector
from regard.publish import model_card
from regard.training.run import fingerprint

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.filterwarnings("ignore:TransformerBlock")  # its option's former name
DEMO = Path(__file__).parents[2] / "docs" / "results" / "demo"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The demonstration's study with the hashes of weights in its results, as a study on disk has them."""
    folder = shutil.copytree(DEMO, tmp_path / "study")
    for variant in json.loads((folder / "study.json").read_text())["variants"]:
        for seed in range(3):
            place = folder / "runs" / variant["place"] / f"seed-{seed}"
            place.mkdir(parents=True, exist_ok=True)
            _record(place, f"{variant['name']}-{seed}")
    return folder


def _record(place: Path, weights: str) -> None:
    file = place / "result.json"
    kept = {"metrics": {"ap50": 0.1}, "per_class": {}, "gates": {}, "seconds": 1.0, "peak_mib": 1.0}
    known = json.loads(file.read_text()) if file.is_file() else kept
    file.write_text(json.dumps(known | {"weights": weights}))


def _model(variant: str) -> Detector:
    model = regard.load(DEMO / "models" / f"{variant}.yaml")
    model.names = {0: "ordinary", 1: "odd"}
    return model


def _section(model: Detector, study: Path, **given: object) -> str:
    card = model_card(model, "me/odd", license="mit", from_scratch=True, study=study, **given)  # type: ignore[arg-type]
    return card.partition("## The study behind it")[2].partition("## Use")[0]


def test_the_card_names_the_run_that_the_model_is(study: Path) -> None:
    model = _model("self-attention")
    _record(study / "runs" / "self-attention" / "seed-1", fingerprint(model)["sha256"])
    assert "The published model is the run of variant self-attention with seed 1." in _section(model, study)


def test_a_model_that_no_run_made_is_said_to_be_none(study: Path) -> None:
    for variant in ("base", "self-attention"):
        text = _section(_model(variant), study)
        assert f"is none of the runs that the study measured. It has the layers of variant {variant}." in text


def test_other_weights_of_a_run_are_not_those_that_were_measured(study: Path) -> None:
    model = _model("base")
    model.started_from = str(study / "runs" / "base" / "seed-2" / "best.safetensors")
    assert "is from the run of variant base with seed 2; the study measured the weights of its last" in _section(
        model, study
    )


def test_what_is_not_recorded_is_not_claimed(study: Path) -> None:
    _record(study / "runs" / "base" / "seed-0", "")
    assert "Whether the published model is one of the study's runs is not recorded." in _section(_model("base"), study)


def test_the_data_epochs_and_seeds_of_the_study_are_stated(study: Path) -> None:
    text = _section(_model("base"), study)
    assert "Data set of the study: synthetic:context?train=1000&val=200&test=0 (train 1000 images with 3988" in text
    assert "Each run: 5 epochs. Seeds: 0, 1, 2." in text
    document = json.loads((study / "study.json").read_text())
    document["provenance"]["data"] = {"splits": {"train": 3}}
    document["variants"][1]["epochs"] = 7
    (study / "study.json").write_text(json.dumps(document))
    text = _section(_model("base"), study)
    assert "Data set" not in text
    assert "Each run: 5 to 7 epochs." in text
