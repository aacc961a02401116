"""Results never replace what regard predict did not write, and those of an interrupted prediction are kept."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from regard.config import SaveSettings
from regard.detections import Detections
from regard.errors import RegardError
from regard.prediction import Frame, frames, save_detections
from regard.system.outputs import GROWING, LEDGER, Outputs

EVERYTHING = SaveSettings(save_txt=True, save_crop=True)
NAMES = {0: "cat", 1: "../dog", 2: "\ud800" + 300 * "é"}


def _stream(*sources: str, video: str = "") -> Iterator[tuple[Frame, Detections]]:
    image = np.random.default_rng(5).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    boxes = np.array([[3, 5, 20, 30], [10, 10, 21, 23], [0, 0, 64, 48]], np.float32)
    scores, class_ids = np.array([0.9, 0.5, 0.25], np.float32), np.array([0, 1, 2])
    for number, source in enumerate(sources):
        frame = Frame(image, source, video, 10.0, number=number if video else None)
        yield frame, Detections(boxes, scores, class_ids, NAMES, (48, 64), source)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_is_written_again_by_the_next_prediction(tmp_path: Path) -> None:
    first = save_detections(_stream("a.png", "b.jpg"), tmp_path, EVERYTHING)
    before = _contents(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in first} == before.keys() - {LEDGER}
    assert save_detections(_stream("a.png", "b.jpg"), tmp_path, EVERYTHING) == first
    assert _contents(tmp_path) == before
    save_detections(_stream("b.jpg"), tmp_path, SaveSettings())
    assert [record["source"] for record in json.loads((tmp_path / "detections.json").read_text())] == ["b.jpg"]


@pytest.mark.parametrize(
    "name", ["a.png", "labels/a.txt", "crops/cat/a_0.png", "detections.json", "detections.csv", "detections.part.csv"]
)
def test_a_file_of_somebody_else_is_never_replaced(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(RegardError, match="not replaced"):
        save_detections(_stream("a.png"), tmp_path, EVERYTHING)
    assert path.read_text() == "mine"


def test_a_result_that_was_changed_since_is_somebody_elses(tmp_path: Path) -> None:
    save_detections(_stream("a.png"), tmp_path, EVERYTHING)
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(RegardError, match=r"a\.txt"):
        save_detections(_stream("a.png"), tmp_path, EVERYTHING)
    assert (tmp_path / "labels/a.txt").read_text() == "0 0.5 0.5 0.1 0.1\n"


def test_a_video_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "walk.mp4").write_text("mine")
    with pytest.raises(RegardError, match=r"walk\.mp4"):
        save_detections(_stream("walk.mp4#0", video="walk.mp4"), tmp_path, SaveSettings())
    assert (tmp_path / "walk.mp4").read_text() == "mine"
    (tmp_path / "walk.mp4").unlink()
    for _ in range(2):
        save_detections(_stream("walk.mp4#0", "walk.mp4#1", video="walk.mp4"), tmp_path, SaveSettings())
        assert sum(1 for _ in frames(tmp_path / "walk.mp4")) == 2


def test_an_earlier_result_that_is_an_input_now_is_not_replaced(tmp_path: Path) -> None:
    save_detections(_stream("a.png"), tmp_path, SaveSettings())
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(RegardError, match="image that it is of"):
        save_detections(_stream(str(tmp_path / "a.png")), tmp_path, SaveSettings())
    assert (tmp_path / "a.png").read_bytes() == before


def test_a_torn_ledger_counts_as_far_as_it_goes(tmp_path: Path) -> None:
    save_detections(_stream("a.png"), tmp_path, SaveSettings(save_json=False, save_csv=False))
    with (tmp_path / LEDGER).open("a") as ledger:
        ledger.write('["b.png", "ab')
    (tmp_path / "b.png").write_text("mine")
    save_detections(_stream("a.png"), tmp_path, SaveSettings(save_json=False, save_csv=False))
    with pytest.raises(RegardError, match=r"b\.png"):
        save_detections(_stream("b.png"), tmp_path, SaveSettings(save_json=False, save_csv=False))


def test_crops_lie_by_class_within_the_folder(tmp_path: Path) -> None:
    save_detections(_stream("photos/a.jpg"), tmp_path / "out", SaveSettings(save_crop=True, save_images=False))
    crops = sorted((tmp_path / "out/crops").rglob("*.jpg"))
    assert sorted(path.name for path in crops) == ["a_0.jpg", "a_1.jpg", "a_2.jpg"]
    assert (tmp_path / "out/crops/cat/a_0.jpg").is_file()
    assert len({path.parent for path in crops}) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [cv2.imread(str(path)).shape[:2] for path in crops if path.parent.name == "cat"] == [(25, 17)]


def test_crops_of_classes_whose_names_differ_only_where_file_systems_do_not_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "NAMES", {0: "a:b", 1: "a?b", 2: "A_B", 3: "dog"})
    save_detections(_stream("photos/a.jpg"), tmp_path, SaveSettings(save_crop=True, save_images=False))
    assert sorted(path.parent.name for path in tmp_path.rglob("*.jpg")) == ["A_B_3", "a_b", "a_b_2"]


def test_pages_and_streams_have_names_of_their_own(tmp_path: Path) -> None:
    (frame, found), *_ = _stream("scan.tif#0")
    pages = [(Frame(frame.image, f"scan.tif#{i}", number=i), found) for i in range(2)]
    save_detections(pages, tmp_path, SaveSettings(save_json=False, save_csv=False))
    save_detections(
        _stream("x#0", video="rtsp://host:554/a:b"), tmp_path, SaveSettings(save_json=False, save_csv=False)
    )
    assert {path.name for path in tmp_path.iterdir()} == {"scan_0.png", "scan_1.png", "a_b.mp4", LEDGER}


@pytest.mark.skipif(os.name != "posix", reason="kills by a POSIX signal")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_a_kill_leaves_the_rows_that_were_found(tmp_path: Path, name: str) -> None:
    program = f"""
        import os, signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
        sys.path[:0] = {sys.path!r}
        from test_saved_outputs import _stream
        from regard.config import SaveSettings
        from regard.prediction import save_detections
        def killed():
            yield from _stream("a.png", "b.png")
            while not os.path.exists("out/b.png"): pass
            os.kill(os.getpid(), signal.{name})
            yield None
        save_detections(killed(), "out", SaveSettings())
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)}, check=False
    )
    assert done.returncode == -getattr(signal, name)
    rows = [json.loads(line) for line in (tmp_path / "out/detections.part.jsonl").read_text("utf-8").splitlines()]
    assert rows[0]["source"] == "a.png"
    with (tmp_path / "out/detections.part.csv").open(encoding="utf-8") as file:
        assert [row["source"] for row in csv.DictReader(file)][:3] == ["a.png"] * 3
    assert not (tmp_path / "out/detections.json").exists()
    save_detections(_stream("a.png"), tmp_path / "out", SaveSettings())
    assert not list((tmp_path / "out").glob("*.part.*"))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills by a POSIX signal")
@pytest.mark.parametrize(("name", "code"), [("SIGKILL", -9), ("SIGINT", 130)])
def test_a_command_that_is_stopped_keeps_its_rows_and_the_next_one_works(tmp_path: Path, name: str, code: int) -> None:
    for number in range(400):
        (tmp_path / f"in_{number:03}.png").write_bytes(
            cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
        )
    start = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom regard.__main__ import main\n"
    )
    options = ["--imgsz", "640", "--conf", "0.0001", "--no-save-images", "-o", "out"]

    def command(source: str) -> list[str]:
        argv = ["regard", "predict", "odd-one-out", source, *options]
        return [sys.executable, "-c", f"{start}import sys; sys.argv = {argv!r}; sys.exit(main())"]

    table = tmp_path / "out/detections.part.csv"
    with subprocess.Popen(command("."), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
        end = time.monotonic() + 120
        while running.poll() is None and time.monotonic() < end and not (table.exists() and table.read_text()[100:]):
            time.sleep(0.01)
        running.send_signal(getattr(signal, name))
        output = running.communicate(timeout=60)[0].decode()
    assert running.returncode == code, output
    assert "Traceback" not in output
    with table.open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["source"].endswith("in_000.png")
    subprocess.run(command("in_00?.png"), cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert len(json.loads((tmp_path / "out/detections.json").read_text())) == 10
    assert not list((tmp_path / "out").glob("*.part.*"))


def test_tables_without_images_are_valid(tmp_path: Path) -> None:
    save_detections(_stream(), tmp_path, SaveSettings())
    assert json.loads((tmp_path / "detections.json").read_text()) == []
    assert (tmp_path / "detections.csv").read_text().count("\n") == 1


@pytest.mark.parametrize(("opens", "reported"), [(False, "cannot write a video"), (True, "of 2 frames of walk.mp4 0")])
def test_a_video_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: bool, reported: str
) -> None:
    class Writer:
        fourcc = cv2.VideoWriter.fourcc

        def __init__(self, *_: object) -> None: ...
        def isOpened(self) -> bool:  # noqa: N802
            return opens

        def write(self, _image: object) -> None: ...
        def release(self) -> None: ...

    monkeypatch.setattr(cv2, "VideoWriter", Writer)
    with pytest.raises(RegardError, match=reported):
        save_detections(_stream("walk.mp4#0", "walk.mp4#1", video="walk.mp4"), tmp_path, SaveSettings())
    assert not (tmp_path / "walk.mp4").exists()
    assert (tmp_path / "detections.part.jsonl").exists() == opens  # the rows of the frames before the error


def test_a_video_is_written_in_h264_where_it_can_be_and_else_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, tried = cv2.VideoWriter, []

    class Writer:
        fourcc = real.fourcc

        def __new__(cls, path: str, code: int, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:  # type: ignore[misc]
            tried.append(code)
            codec = "mp4v" if len(tried) == 1 or code == real.fourcc(*"mp4v") else "none"
            return real(path, real.fourcc(*codec), fps, size)

    monkeypatch.setattr(cv2, "VideoWriter", Writer)
    caplog.set_level("INFO", "regard")
    save_detections(_stream("a.mp4#0", video="a.mp4"), tmp_path / "one", SaveSettings())
    assert tried == [real.fourcc(*"avc1")]
    assert not caplog.text
    save_detections(_stream("b.mp4#0", video="b.mp4"), tmp_path / "two", SaveSettings())
    assert tried[1:] == [real.fourcc(*"avc1"), real.fourcc(*"mp4v")]
    assert caplog.text.count("browsers") == 1


@pytest.mark.parametrize("link", [LEDGER, "detections.part.csv", "detections.csv", "a.png", "labels"])
@pytest.mark.parametrize("exists", [True, False])
def test_nothing_is_written_through_a_link(link: str, exists: bool, tmp_path: Path) -> None:
    folder, victim = tmp_path / "out", tmp_path / "victim"
    folder.mkdir()
    if exists and link == "labels":
        victim.mkdir()
    elif exists:
        victim.write_text("mine")
    (folder / link).symlink_to(victim)
    if link != LEDGER:
        (folder / LEDGER).write_text(json.dumps([link, GROWING]) + "\n")
    with pytest.raises(RegardError, match="a link"):
        save_detections(_stream("a.png"), folder, SaveSettings(save_txt=True, save_csv=True))
    assert victim.exists() is exists
    assert not exists or (list(victim.iterdir()) == [] if victim.is_dir() else victim.read_text() == "mine")


def test_the_lines_of_a_ledger_are_bounded(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text("\n" * 1_000_001)
    with pytest.raises(RegardError, match="too many lines"):
        Outputs(tmp_path)


@pytest.mark.parametrize("content", ["[" * 100_000, "[1]", "{}", "[[], []]", "[null, null]"])
def test_a_damaged_ledger_names_no_file(content: str, tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text(content)
    save_detections(_stream("a.png"), tmp_path, SaveSettings(save_json=False, save_csv=False))
