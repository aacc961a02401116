"""The Python face: loading, editing and saving detectors."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import regard
import regard.api
from regard.api import edits


class Halve(nn.Module):
    def __init__(self, in_channels: int, factor: float = 0.5) -> None:  # noqa: ARG002
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def test_edits_give_new_detectors_and_leave_the_old_one(tmp_path: Path) -> None:
    model = regard.load("yolov5n")
    before = model.spec
    edited = regard.insert(model, "SE", after="sppf", options={"reduction": 16})
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert all(map(torch.equal, edited(x), model(x)))
    assert model.spec == before
    assert [row.name for row in edited.spec.layers if row.gate] == ["sppf.se"]
    assert regard.remove(edited, "sppf.se").spec == model.spec
    assert regard.replace(model, "p5", "C3TR").spec.layer("p5").module == "C3TR"
    assert regard.insert(model.train(), "SE", after=4, name="mine", gate=False).training
    regard.save(edited, tmp_path / "edited.safetensors")
    assert regard.load(tmp_path / "edited.safetensors").spec == edited.spec


def test_only_training_waits_for_what_it_alone_needs() -> None:
    code = "import sys, regard; regard.load, regard.val, regard.insert; print(set(sys.argv) & set(sys.modules))"
    slow = ("matplotlib", "torchvision", "lightning_fabric", "torch._dynamo")
    done = subprocess.run([sys.executable, "-c", code, *slow], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()"]


@pytest.mark.parametrize("package", [regard, regard.api])
def test_type_checkers_see_what_is_imported_on_first_use(package: ModuleType) -> None:
    """The imports for type checkers, the names of the package, and what its ``__getattr__`` gives are the same."""
    assert package.__file__
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    places = {alias.name: str(node.module) for node in imports for alias in node.names}
    assert sorted(places) == sorted(package.__all__)
    for name, place in places.items():
        seen = getattr(package, name)
        if isinstance(seen, ModuleType):  # a package, perhaps one that can be called
            assert seen.__name__ in (f"{place}.{name}", place.rpartition(".")[0])
        else:
            assert seen is getattr(import_module(place), name)


def test_a_class_of_ones_own_is_inserted_as_it_is(tmp_path: Path) -> None:
    edited = regard.insert(regard.load("yolov5n"), Halve, after="p3", options={"factor": 0.25}, gate=False)
    layer = edited.layer("p3.halve")
    assert isinstance(layer, Halve)
    assert layer.factor == 0.25
    regard.save(edited, tmp_path / "own.safetensors")
    with pytest.raises(regard.RegardError, match=r"needs your own Halve"):
        regard.load(tmp_path / "own.safetensors")
    again = regard.load(tmp_path / "own.safetensors", modules={"Halve": Halve})
    assert regard.insert(again, "SE", after="p4").user_modules == {"Halve": Halve}


TAKE_A_MODEL: dict[str, Callable[[Any, Path], object]] = {
    "insert": lambda model, _: regard.insert(model, "SE", after="p4"),
    "replace": lambda model, _: regard.replace(model, "p4", "C3TR"),
    "remove": lambda model, _: regard.remove(model, "p4"),
    "save": lambda model, folder: regard.save(model, folder / "saved.safetensors"),
    "cost": lambda model, _: regard.cost(model, imgsz=64, repeats=1),
    "train": lambda model, folder: regard.train(model, TINY, folder=folder / "run", **QUICK),
    "val": lambda model, _: regard.val(model, TINY, imgsz=64),
    "predict": lambda model, _: regard.predict(model, np.zeros((61, 97, 3), np.uint8), imgsz=64),
    "export": lambda model, folder: regard.export(model, folder / "a.torchscript", imgsz=64),
    "attend": lambda model, _: regard.attend(
        model, np.zeros((61, 97, 3), np.uint8), layer="p4", kind="gradient", imgsz=64
    ),
}
TINY = "synthetic:context?train=5&val=2&test=0"
QUICK: Any = {"epochs": 1, "imgsz": 64, "batch": 4, "workers": 0, "plots": False, "verbose": False}


@pytest.mark.parametrize("function", TAKE_A_MODEL)
def test_every_function_takes_a_detector_or_what_load_takes(function: str, tmp_path: Path) -> None:
    run = TAKE_A_MODEL[function]
    regard.save(regard.load("odd-one-out"), tmp_path / "own.safetensors")
    run(tmp_path / "own.safetensors", tmp_path)
    (tmp_path / "again").mkdir()
    run("odd-one-out", tmp_path / "again")
    for wrong in (3, None, nn.ReLU()):
        with pytest.raises(regard.RegardError, match=r"(?s)the model is .*expected"):
            run(wrong, tmp_path / "wrong")
    with pytest.raises(regard.RegardError, match="did you mean 'odd-one-out'"):
        run("odd-one-outt", tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_training_from_a_name_is_reproducible(tmp_path: Path) -> None:
    runs = []
    for name in ("a", "b"):
        torch.rand(len(name) + len(runs))  # another state of the generator
        runs.append(regard.train("odd-one-out", TINY, folder=tmp_path / name, seed=7, **QUICK).model)
    assert all(map(torch.equal, *(model.state_dict().values() for model in runs)))


def test_the_catalogue_is_public() -> None:
    assert regard.nn.attention.ATTENTION["SE"](7)(torch.zeros(1, 7, 3, 5)).shape == (1, 7, 3, 5)


def test_a_miswired_file_loads_on_request_only(tmp_path: Path) -> None:
    text = regard.load("yolov5n").spec.to_yolov5_yaml().replace("[17, 20, 23]", "[20, 17, 23]")
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(regard.RegardError, match="not sorted"):
        regard.load(tmp_path / "wrong.yaml")
    with pytest.warns(regard.RegardWarning, match="not sorted"):
        assert regard.load(tmp_path / "wrong.yaml", allow_miswired=True).strides == (16, 8, 32)


@pytest.mark.parametrize(("layer", "name"), [(regard.nn.attention.ATTENTION["SE"], "SE"), (nn.ReLU, "nn.ReLU")])
def test_a_class_that_everyone_has_is_no_module_of_ones_own(layer: type[nn.Module], name: str, tmp_path: Path) -> None:
    edited = regard.insert(regard.load("yolov5n"), layer, after="sppf")
    assert edited.spec.layers[10].module == name
    regard.save(edited, tmp_path / "a.safetensors")
    assert regard.load(tmp_path / "a.safetensors").spec.layers[10].module == name


def test_former_names_of_types_are_understood_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="LetterboxTransform"):
        assert regard.types.Placement is regard.types.LetterboxTransform
    with pytest.warns(DeprecationWarning, match="LetterboxedBatch"):
        assert regard.types.PlacedBatch is regard.types.LetterboxedBatch
    with pytest.warns(DeprecationWarning, match="EditEffect"):
        assert edits.Difference is edits.EditEffect
    with pytest.raises(AttributeError, match="Plaxement"):
        _ = regard.types.Plaxement
