"""What people write, and what they write wrong."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hand_edits import FILE, STOCK_N
from typer.testing import CliRunner

from regard.cli import app
from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.edit import insert, remove, replace_layer
from regard.graph.read import FROM_ZOO, parse_spec, read_spec, spec_from_document, zoo

OVERLAY = """\
base: yolov5n
nc: 3
insert:
  - {after: sppf, module: SE, args: {reduction: 8}, gate: false, name: squeeze}
  - {after: p4, module: SE, readers: [head.p4_concat]}
replace: [{layer: p5, module: C3TR, args: [1024]}]
remove: [head.p5_down]
"""


def test_an_overlay_is_its_edits_in_order() -> None:
    spec = read_spec("yolov5n").with_classes(3)
    spec = insert(spec, "SE", after="sppf", options={"reduction": 8}, gate=False, name="squeeze")
    spec = insert(spec, "SE", after="p4", readers=["head.p4_concat"])
    spec = remove(replace_layer(spec, "p5", "C3TR", args=[1024]), "head.p5_down")
    assert parse_spec(OVERLAY, FILE) == spec


def test_the_zoos_overlay_is_gated() -> None:
    row = read_spec("yolov5n-se").layer("sppf.se")
    assert (row.gate, row.options) == (True, {"reduction": 16})


def test_an_overlay_on_a_file_next_to_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(STOCK_N)
    (tmp_path / "over.yaml").write_text("base: mine.yaml\ninsert: {after: 14, module: SE, gate: false}\n")
    assert read_spec(tmp_path / "over.yaml").layer(15).name == "head.p4_lateral.se"


def test_messages_name_the_file_in_which_the_row_was_written(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(STOCK_N.replace("SPPF, [1024, 5]", "SPPG, [1024, 5]"))
    over = tmp_path / "over.yaml"
    over.write_text("base: mine.yaml\n\ninsert:\n  - {after: p4, module: SE}\n")
    with pytest.raises(RegardError, match="unknown module 'SPPG'") as caught:
        build(read_spec(over))
    assert (caught.value.file, caught.value.line) == (tmp_path / "mine.yaml", 21)
    over.write_text("base: yolov5n\n\ninsert:\n  - {after: p4, module: SE, args: {reductoin: 4}}\n")
    with pytest.raises(RegardError, match="did you mean 'reduction'") as caught:
        build(read_spec(over))
    assert (caught.value.file, caught.value.line) == (over, 4)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("after: sppf", "after: spff", 4, "did you mean 'sppf'"),
        ("after: sppf", "aftr: sppf", 4, "did you mean 'after'"),
        ("after: sppf", "after: 2.5", 4, "'after' is 2.5"),
        ("after: sppf", "after: null", 4, "'after' is None"),
        ("after: sppf", "after: 99", 4, "there is no row 99"),
        ("after: sppf, ", "", 4, "needs 'after'"),
        ("module: SE, args", "module: 5, args", 4, "'module' is 5"),
        ("gate: false", "gate: maybe", 4, "'gate' is 'maybe'"),
        ("name: squeeze", "name: 7", 4, "'name' is 7"),
        ("name: squeeze", "name: p3", 4, "called 'p3'"),
        ("{reduction: 8}", "8", 4, "'args' is 8"),
        ("readers: [head.p4_concat]", "readers: head.p4_concat", 5, "'readers' is 'head.p4_concat'"),
        ("layer: p5", "layer: true", 6, "'layer' is True"),
        ("args: [1024]", "number: 0", 6, "'number' is 0"),
        ("args: [1024]", "number: x", 6, "'number' is 'x'"),
        ("[head.p5_down]", "[{layer: p5}]", 7, "'layer' is"),
        ("remove: [head.p5_down]", "remove:", 7, "'layer' is None"),
        ("nc: 3", "nc: 2.5", 2, "nc is 2.5"),
        ("nc: 3", "nc: -3", 2, "nc is -3"),
        ("nc: 3", "nc: 100001", 2, "nc is 100001"),
        ("nc: 3", "width_multiple: 101", 2, "width_multiple is 101"),
        ("nc: 3", "depth_multiple: 1e3", 2, "depth_multiple is 1000.0"),
        ("nc: 3", "anchors: 1000000000", 2, "anchors are 1000000000"),
        ("nc: 3", "nc: 3\nnc: 4", 3, "'nc' is repeated"),
        ("gate: false", "gate: false, gate: true", 4, "'gate' is repeated"),
        ("args: [1024]", "number: 1001", 6, "'number' is 1001"),
        ("readers: [head.p4_concat]", "readers: []", 5, "no readers are named"),
        ("nc: 3", "width_multiple: .inf", 2, "width_multiple is inf"),
        ("nc: 3", "anchors: [[1]]", 2, "anchors are"),
        ("nc: 3", "epochs: 3", 2, "unknown key 'epochs'"),
        ("base: yolov5n", "base: yolov5q", 1, "did you mean 'yolov5"),
        ("base: yolov5n", "base: [1]", 1, "base is [1]"),
        ("base: yolov5n", "base: weights.pt", 1, "'weights.pt' is a file of weights"),
    ],
)
def test_wrong_overlays_say_where(old: str, new: str, line: int, message: str) -> None:
    assert old in OVERLAY
    with pytest.raises(RegardError, match=re.escape(message)) as caught:
        parse_spec(OVERLAY.replace(old, new, 1), FILE)
    assert (caught.value.file, caught.value.line) == (FILE, line)


def test_numbers_are_read_as_people_write_them() -> None:
    assert parse_spec(OVERLAY.replace("nc: 3", "width_multiple: 5e-1"), FILE).width_multiple == 0.5


def test_a_replaced_row_that_cannot_be_built_is_named_where_it_was_replaced() -> None:
    over = "base: yolov5n\n\nreplace: {layer: sppf, module: SPP, args: [1024, 5]}\n"
    with pytest.raises(RegardError, match="kernel_sizes is 5") as caught:
        build(parse_spec(over, FILE))
    assert (caught.value.file, caught.value.line) == (FILE, 3)


def test_a_graph_without_rows_is_rejected() -> None:
    with pytest.raises(RegardError, match="there are no rows") as caught:
        build(parse_spec("backbone: []\nhead: []\n", FILE))
    assert caught.value.file == FILE


def test_a_base_that_leads_back_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(RegardError, match="refers back"):
        read_spec(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("old", "new", "words", "message"),
    [
        ("[-1, 1, SPPF, [1024, 5]]", "[-1, 1]", "SPPF", "cannot be read"),
        ("[-1, 1, SPPF, [1024, 5]]", "[-1, 1, SPPF, [1024, 5], 1]", "SPPF", "cannot be read"),
        ("[-1, 1, SPPF, [1024, 5]]", "[-1, 0, SPPF, [1024, 5]]", "SPPF", "'number' is 0"),
        ("[-1, 1, SPPF, [1024, 5]]", "[-1, one, SPPF, [1024, 5]]", "SPPF", "'number' is 'one'"),
        ("[-1, 1, SPPF, [1024, 5]]", "[9, 1, SPPF, [1024, 5]]", "SPPF", "row 9 reads row 9"),
        ("[-1, 1, SPPF, [1024, 5]]", "[-11, 1, SPPF, [1024, 5]]", "SPPF", "row 9 reads row -11"),
        ("[-1, 1, SPPF, [1024, 5]]", "[p6, 1, SPPF, [1024, 5]]", "SPPF", "row 9 reads 'p6'"),
        ("[-1, 1, SPPF, [1024, 5]]", "[[], 1, SPPF, [1024, 5]]", "SPPF", "'from' is []"),
        ("[-1, 1, SPPF, [1024, 5]]", "[1.5, 1, SPPF, [1024, 5]]", "SPPF", "'from' is 1.5"),
        ("[-1, 1, SPPF, [1024, 5]]", "[-1, 1, 7, [1024, 5]]", "SPPF", "cannot be read"),
        ("[-1, 1, SPPF, [1024, 5]]", "[-1, 1, SPPF, 1024]", "SPPF", "'args' is 1024"),
        ("[-1, 1, SPPF, [1024, 5]]", "{module: SPPF, arg: [1024]}", "SPPF", "did you mean 'args'"),
        ("[-1, 1, SPPF, [1024, 5]]", "{name: '#3', module: SPPF, args: [1024]}", "SPPF", "cannot be the name"),
        ("[-1, 1, SPPF, [1024, 5]]", "[-1, 1, SPPF, &a [1024, *a]]", "SPPF", "contains itself"),
        ("[-1, 1, SPPF, [1024, 5]]", "[-1, 1001, SPPF, [1024, 5]]", "SPPF", "'number' is 1001"),
        ("nc: 80", "nc: eighty", "nc", "nc is 'eighty'"),
        ("nc: 80", "nx: 80", "nc", "unknown key 'nx'"),
        ("depth_multiple: 0.33", "depth_multiple: .nan", "depth_m", "depth_multiple is nan"),
        ("depth_multiple: 0.33", "depth_multiple: .inf", "depth_m", "depth_multiple is inf"),
        ("[10,13, 16,30, 33,23]", "[10,13, 16,30, 33]", "anchors", "anchors are"),
        ("[10,13, 16,30, 33,23]", "[10,13, 16,.inf, 33,23]", "anchors", "anchors are"),
        ("nc: 80", "nc: 80\x07", "nc", "not valid YAML"),
    ],
)
def test_wrong_rows_say_where(old: str, new: str, words: str, message: str) -> None:
    text = STOCK_N.replace(old, new, 1)
    assert text != STOCK_N
    with pytest.raises(RegardError, match=re.escape(message)) as caught:
        parse_spec(text, FILE)
    assert (caught.value.file, caught.value.line) == (FILE, STOCK_N[: STOCK_N.index(words)].count("\n") + 1)


@pytest.mark.parametrize(
    "text", ["", "[]", "just words", "backbone: []", "backbone: 3\nhead: []", "\x00", "a: [", "[" * 3000]
)
def test_what_is_no_model_is_rejected(text: str) -> None:
    with pytest.raises(RegardError) as caught:
        build(parse_spec(text, FILE))
    assert caught.value.file == FILE


def _mutated(text: str, draw: random.Random) -> str:
    """Delete, double, swap or alter one token."""
    tokens = re.findall(r"\s+|\w+|[^\w\s]", text)
    i = draw.randrange(len(tokens))
    while tokens[i].isspace() and draw.random() < 0.8:
        i = draw.randrange(len(tokens))
    other = draw.choice(tokens)
    kind = draw.randrange(4)
    new = {0: [], 1: [tokens[i]] * 2, 2: [other], 3: [draw.choice("[]{},:-&*!|'\"#%@7xé"), tokens[i]]}[kind]
    return "".join([*tokens[:i], *new, *tokens[i + 1 :]])


def _error_of(text: str) -> RegardError | None:
    try:
        build(parse_spec(text, FILE))
    except RegardError as error:
        return error
    return None


@pytest.mark.filterwarnings("ignore::regard.errors.RegardWarning")
def test_mutations_of_a_stock_file_never_end_in_another_exception() -> None:
    draw = random.Random(0)
    native = read_spec("yolov5n").to_yaml()
    small = (STOCK_N.replace("0.25", "0.0625"), native.replace("0.25", "0.0625"), OVERLAY)
    rejected = built = 0
    for round_ in range(300):
        text = _mutated(small[round_ % 3], draw)
        if max(map(int, re.findall(r"\d+", text))) > 3000:
            continue  # a network too large to be built in a test
        error = _error_of(text)
        assert error is None or (error.file is not None and error.line), (text, error)
        rejected, built = rejected + (error is not None), built + (error is None)
    assert rejected > 100
    assert built > 20


def test_a_graph_from_a_checkpoint_is_plain_data() -> None:
    document = {
        "nc": 80, "ch": 3, "yaml_file": "yolov5n.yaml", "depth_multiple": 0.33, "width_multiple": 0.25, "anchors": 3,
        "backbone": [(-1, 1, "Conv", [64, 6, 2, 2])], "head": [([-1], 1, "Detect", ["nc", "anchors"])],
    }  # fmt: skip
    spec = spec_from_document(document)
    assert spec.layers[1].args == ("nc", "anchors")
    assert spec.file is None


def test_names_are_adopted_and_made() -> None:
    ours = "   mine: [-1, 1, SE, [1024]],\n   [-1, 1, SE, [1024]],\n"
    text = STOCK_N.replace("   [-1, 1, SPPF", f"{ours}   [-1, 1, SPPF")
    rows = parse_spec(text, FILE).layers
    assert [row.name for row in rows[8:13]] == ["p5", "mine", "mine.se", "sppf", "head.p5_lateral"]


def test_the_zoo_lists_all_sizes() -> None:
    assert {f"yolov5{s}{shape}" for s in "nsmlx" for shape in ("", "6", "-p2")} <= set(zoo())


@pytest.mark.parametrize("base", ["null", "3", "[a]"])
def test_a_base_is_a_name(base: str) -> None:
    with pytest.raises(RegardError, match="base is"):
        parse_spec(f"base: {base}\n", None)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("nix.yaml", "nix.yaml: no such file"),
        ("street.yml", "street.yml: no such file\n  did you mean 'street.yaml'?"),
        ("streets.onnx", "streets.onnx: no such file\n  did you mean 'street.yaml'?"),
        ("gone/street.yaml", "gone/street.yaml: no such file\n  the folder gone does not exist either"),
        ("gone/run", "gone/run: no such file or folder\n  the folder gone does not exist either"),
        ("yolov5nn.yaml", "yolov5nn.yaml: no such file\n  did you mean 'yolov5n'?"),
        ("nix", f"there is no model 'nix'\n  expected: a file, or {FROM_ZOO}"),
    ],
)
def test_what_looks_like_a_path_is_a_missing_file_and_no_unknown_name(
    source: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("street.yaml").write_text("")
    with pytest.raises(RegardError) as caught:
        read_spec(source)
    assert str(caught.value) == expected


def test_an_unknown_name_has_few_suggestions_and_the_command_that_lists_all() -> None:
    with pytest.raises(RegardError) as caught:
        read_spec("yolo8n")
    assert caught.value.hint is not None
    assert re.fullmatch(r"did you mean 'yolov8n', '\w+' or '\w+'\?", caught.value.hint)
    assert len(str(caught.value)) < 200
    listed = CliRunner().invoke(app, ["summary", "--list"])
    assert (listed.exit_code, listed.stdout.split()) == (0, zoo())
