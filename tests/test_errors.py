import linecache
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import regard
from regard.cli.messages import show_messages
from regard.config.recipe import AugmentSettings
from regard.errors import RegardDeprecationWarning, RegardWarning, warn
from regard.nn.attention import SE

GRAPH = """nc: 2
backbone:
  - stem: [-1, 1, Conv, [8, 3, 8]]
  - gate: [-1, 1, SE, {ratio: 2}]
head:
  - detect: [[gate], 1, Detect, [nc, [[10, 13, 16, 30, 33, 23]]]]
"""


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: regard.load("odd.yaml"), RegardDeprecationWarning),  # through contextlib
        (lambda: regard.insert("odd-one-out", "SE", after="p4", options={"ratio": 8}), RegardDeprecationWarning),
        (lambda: AugmentSettings(flip_lr=0.25), RegardDeprecationWarning),  # type: ignore[call-arg]  # through pydantic
        (lambda: SE(16, ratio=4), RegardDeprecationWarning),  # type: ignore[call-arg]
        (lambda: torch.no_grad()(warn)("the input is empty"), RegardWarning),
    ],
)
def test_a_warning_points_to_the_line_of_the_user(
    call: Callable[[], object], kind: type[Warning], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd.yaml").write_text(GRAPH)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert {(warning.filename, warning.category) for warning in caught} == {(__file__, kind)}
    assert all("lambda" in linecache.getline(__file__, warning.lineno) for warning in caught)


def test_each_line_is_warned_of_once_as_python_does(recwarn: pytest.WarningsRecorder) -> None:
    warnings.simplefilter("default")
    for _ in range(3):
        warn("a name is doubtful")
    warn("a name is doubtful")
    assert len(recwarn) == 2


def test_the_command_line_shows_former_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # is put back afterwards
        show_messages()
        regard.insert("odd-one-out", "SE", after="p4", options={"ratio": 8})
    assert capsys.readouterr().err.count("option 'ratio' is now called 'reduction'") == 1


def test_no_module_counts_the_frames_of_its_callers() -> None:
    files = Path(regard.__file__).parent.rglob("*.py")
    assert [file.name for file in files if "stacklevel" in file.read_text()] == ["errors.py"]
