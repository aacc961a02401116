"""What the program in a file takes and gives, and its loops, are compared with its header when it is opened."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from regard.config import DetectSettings
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.runtimes import open_predictor
from regard.runtimes.export import export_detector as export
from regard.runtimes.onnx_loops import reject_loops

Change = Callable[[dict[str, Any]], Any]
LIES: dict[str, tuple[Change, str]] = {
    "nms": (lambda h: h.update(nms=DetectSettings().model_dump(mode="json")), "outputs are not those"),
    "raw": (lambda h: h.update(raw={"strides": h["strides"], "anchors": [[[1, 1]]] * 2}), "'images' of float32"),
    "names": (lambda h: h["names"].popitem(), "'scores' of float32"),
}


@pytest.fixture(scope="module")
def files(small: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    for suffix in ("onnx", "xml"):
        export(small, folder / f"model.{suffix}", imgsz=32)
    return folder


def with_header(file: Path, change: Change, folder: Path) -> Path:
    """Copy an export with a changed header."""
    import html
    import json

    if file.suffix == ".onnx":
        model = onnx.load(file)
        (entry,) = model.metadata_props
        header = json.loads(entry.value)
        change(header)
        entry.value = json.dumps(header)
        onnx.save(model, folder / file.name)
    else:
        (folder / "model.bin").write_bytes(file.with_suffix(".bin").read_bytes())
        text = file.read_text(encoding="utf-8")
        found = re.search(r'<regard value="([^"]*)"', text)
        assert found
        header = json.loads(html.unescape(found[1]))
        change(header)
        text = text.replace(found[1], html.escape(json.dumps(header)))
        (folder / file.name).write_text(text, encoding="utf-8")
    return folder / file.name


@pytest.mark.parametrize("suffix", ["onnx", "xml"])
@pytest.mark.parametrize("lie", [*LIES, None])
def test_a_header_of_another_program_is_an_error(files: Path, suffix: str, lie: str | None, tmp_path: Path) -> None:
    change, message = LIES[lie] if lie else (lambda _: None, "")
    changed = with_header(files / f"model.{suffix}", change, tmp_path)
    if not lie:
        assert len(open_predictor(changed).predict(np.zeros((2, 3, 32, 48), np.uint8), 0.1)) == 2
        return
    with pytest.raises(RegardError, match=message):
        open_predictor(changed)


def test_a_program_for_one_size_is_an_error(files: Path, tmp_path: Path) -> None:
    model = onnx.load(files / "model.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(RegardError, match=re.escape("(1, 3, any, any)")):
        open_predictor(tmp_path / "model.onnx")


LONGER = {"superfluous bytes": b"\x22\x84\x00Loop", "number above 32 bits": b"\xa2\x80\x80\x80\x10\x04Loop"}


@pytest.mark.parametrize("inside", ["graph", "branch", *LONGER])
def test_a_program_that_may_never_end_is_an_error(files: Path, inside: str, tmp_path: Path) -> None:
    model, file = onnx.load(files / "model.onnx"), tmp_path / "model.onnx"
    for node in model.graph.node:
        node.output[:] = ["before" if name == "boxes" else name for name in node.output]
    ports = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "on")]
    boxes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    steps = [helper.make_node("Identity", [a], [b]) for a, b in (("go", "on"), ("x", "y"))]
    number = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    body = helper.make_graph(steps, "body", [number, ports[0], boxes[0]], [ports[1], boxes[1]])
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("v", TensorProto.BOOL, [], [True]))
    added = [helper.make_node("Loop", ["", "yes", "before"], ["boxes"], body=body)]
    if inside == "branch":
        out = [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, None)]
        branch = helper.make_graph(added, "branch", [], out)
        added = [helper.make_node("If", ["yes"], ["boxes"], then_branch=branch, else_branch=branch)]
    model.graph.node.extend([yes, *added])
    if inside in LONGER:
        data = model.SerializeToString()
        assert b"\x22\x04Loop" in data
        node = added[0].SerializeToString()
        longer = node.replace(b"\x22\x04Loop", LONGER[inside])
        model.graph.node.pop()
        # A second graph of a message is added to the first.
        graph = b"\x0a" + _size(longer) + longer
        data = model.SerializeToString() + b"\x3a" + _size(graph) + graph
        if inside == "superfluous bytes":  # the other is read so by ONNX Runtime only
            assert onnx.load_from_string(data).graph.node[-1].op_type == "Loop"
        file.write_bytes(data)
    else:
        onnx.save(model, file)
    with pytest.raises(RegardError, match="a loop"):
        open_predictor(file)


def _size(data: bytes) -> bytes:
    number, out = len(data), bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


@pytest.mark.parametrize(
    "fields",
    [
        b"\x2b\x2c\x0a\x06\x22\x04Loop",  # a group in the place of the weights, then a node
        b"\x2a\x80\x80\x80\x80\x10\x0a\x06\x22\x04Loop",  # weights of 2**32 bytes, which some read as none
        b"\xaa\x80\x80\x80\x10\x08\x0a\x06\x22\x04Loop",  # weights whose number has more than 32 bits
    ],
)
def test_what_can_be_read_in_two_ways_is_an_error(files: Path, fields: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes((files / "model.onnx").read_bytes() + b"\x3a" + _size(fields) + fields)
    with pytest.raises(RegardError, match=r"no ONNX program|a loop"):
        reject_loops(file)


@pytest.mark.parametrize("loop", ["Loop", "&#76;oop", "lOOP", "TensorIterator"])
def test_a_loop_in_openvino_is_an_error(files: Path, loop: str, tmp_path: Path) -> None:
    changed = with_header(files / "model.xml", lambda _: None, tmp_path)
    text = changed.read_text(encoding="utf-8").replace('type="Concat"', f'type="{loop}"', 1)
    changed.write_text(text, encoding="utf-8")
    with pytest.raises(RegardError, match="a loop"):
        open_predictor(changed)


def test_xml_that_parsers_read_differently_is_an_error(files: Path, tmp_path: Path) -> None:
    changed = with_header(files / "model.xml", lambda _: None, tmp_path)
    text = changed.read_text(encoding="utf-8")
    gbk = text.replace('<?xml version="1.0"?>', '<?xml version="1.0" encoding="gbk"?>')
    assert gbk != text
    for content in (gbk.encode(), text.encode("utf-16-le"), text.replace("<layers>", "<layers><![CDATA[a]]>").encode()):
        changed.write_bytes(content)
        with pytest.raises(RegardError, match="not plain XML"):
            open_predictor(changed)
