"""What the model card says of the model, its metrics, and how it is used."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import regard
from hub_stand_in import StandIn
from regard.cli import app
from regard.data.formats import load_data
from regard.graph.user_modules import import_modules
from regard.publish import model_card
from regard.training.run import Run, describe_data

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # its HTTP client's
DATA = "synthetic:context?train=4&val=2&test=0"
SCRATCH = {"license": "mit", "from_scratch": True}
LAYERS = """
from torch import nn

class Mine(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return self.conv(x)

def swish(x):
    return x * x.sigmoid()
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = {"epochs": 1, "imgsz": 96, "workers": 0, "plots": False, "verbose": False}
    return regard.train(regard.load("odd-one-out"), DATA, folder=tmp_path_factory.mktemp("of") / "run", **settings)


@pytest.mark.parametrize(("file", "layer"), [("mine.py", "Mine"), ("my-layers.py", "Mine"), ("mine.py", "swish")])
def test_the_card_of_a_model_with_own_layers_names_their_file_and_its_code_works(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, layer: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(file).write_text(LAYERS)
    classes = import_modules([f"{file}:{layer}"])
    regard.save(regard.insert(regard.load("odd-one-out"), classes[layer], after="p3"), "model.safetensors")
    words = ["push", "model.safetensors", "me/mine", "--license", "mit", "--from-scratch", "--message", "The first"]
    done = CliRunner().invoke(app, [*words, "--module", f"{file}:{layer}"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    card = hub.files["me/mine"]["README.md"].decode()
    assert f"It needs {layer}, a layer of the publisher's own" in card
    assert f"get {file}, which defines {layer}, from the publisher" in card
    code = card.partition("```python\n")[2].partition("```")[0]
    assert 'regard.load("hf://me/mine", modules={' in code
    Path("there.safetensors").write_bytes(hub.files["me/mine"]["model.safetensors"])
    code = code.replace("hf://me/mine", "there.safetensors").replace("regard.predict(", "print(").replace("image", "")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "mine", None)
    del sys.modules["mine"]  # afterwards there is none again
    exec(code, {})


def test_the_card_of_a_model_of_the_package_asks_for_no_file(run: Run) -> None:
    card = model_card(run.model, "me/odd", **SCRATCH)
    assert "It needs" not in card
    assert 'regard.predict("hf://me/odd", "image.jpg")' in card
    assert "An object detector for 2 classes: ordinary, odd." in card


def test_attention_is_a_tag_only_of_models_with_attention(run: Run) -> None:
    for model, expected in ((run.model, False), (regard.insert(run.model, "ECA", after="p3"), True)):
        head = yaml.safe_load(model_card(model, "me/odd", **SCRATCH).split("---")[1])
        assert ("attention" in head["tags"]) == expected


def test_metrics_have_their_confidence_and_costs_the_size_of_the_training(run: Run) -> None:
    card = model_card(run.model, "me/odd", **SCRATCH, folder=run.folder)
    assert f"Precision, recall and F1 are those at IoU 0.5 and confidence {run.metrics.confidence:.3f}." in card
    assert "at 96 px" in card
    assert "at 640 px" in model_card(run.model, "me/odd", **SCRATCH)


@pytest.mark.parametrize("shared", [0, 1, 2])
def test_images_that_are_also_in_train_are_stated(run: Run, tmp_path: Path, shared: int) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    config = json.loads((folder / "run.json").read_text())
    assert config["data"]["also_in_train"] == {}
    config["data"]["also_in_train"] = {"val": shared} if shared else {}
    (folder / "run.json").write_text(json.dumps(config))
    card = model_card(run.model, "me/odd", **SCRATCH, folder=folder)
    assert ("1 of these images are also in train" in card) == (shared == 1)
    assert ("All of these images are also in train" in card) == (shared == 2)
    assert ("The best epoch was chosen on these images" in card) == (shared < 2)
    assert ("model-index" in card) == (shared == 0)


def test_a_run_records_images_of_val_that_are_in_train(tmp_path: Path) -> None:
    from PIL import Image

    for k in range(3):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "labels").mkdir(exist_ok=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "images" / f"{k}.png")
        (tmp_path / "labels" / f"{k}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "val.txt").write_text("./images/1.png\n")
    (tmp_path / "data.yaml").write_text("train: images\nval: val.txt\nnames: [a]\n")
    assert describe_data(load_data(tmp_path / "data.yaml"))["also_in_train"] == {"val": 1}
