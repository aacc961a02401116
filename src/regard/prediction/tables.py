"""Tables of detections that grow with every image, so that an interrupted prediction leaves its rows."""

from __future__ import annotations

import csv
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from regard.detections import COLUMNS, Detections
from regard.system.outputs import Outputs
from regard.system.terminal import table_text


class Tables:
    """``detections.json`` and ``detections.csv``.

    Until the last image is done they are ``detections.part.jsonl``, one JSON object per image, and
    ``detections.part.csv``: what Ctrl-C, an error or a kill leaves.

    Args:
        outputs: the folder.
        json_too, csv_too: which of them to write.
    """

    def __init__(self, outputs: Outputs, *, json_too: bool, csv_too: bool) -> None:
        self._outputs, self._stack = outputs, ExitStack()
        self._json, self._csv = (outputs.folder / f"detections.{kind}" for kind in ("json", "csv"))
        self._parts = ["detections.part.jsonl"] * json_too + ["detections.part.csv"] * csv_too
        with outputs.errors():
            for path in (
                [self._json] * json_too + [self._csv] * csv_too + [outputs.folder / part for part in self._parts]
            ):
                outputs.check(path)
        self._lines: TextIO | None = None
        self._rows: TextIO | None = None
        self._is_open = False

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        with self._outputs.errors():
            if kind is None:
                self._open()
            self._stack.close()
            if kind is None:
                self._finish()

    def add(self, detections: Detections) -> None:
        """Append the detections in an image."""
        self._open()
        record = detections.to_dict()
        if self._lines:
            self._lines.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._lines.flush()
        if self._rows:
            writer, source = csv.writer(self._rows, lineterminator="\n"), table_text(record["source"])
            for one in record["detections"]:
                writer.writerow([source, one["class_id"], table_text(one["name"]), one["score"], *one["box_xyxy"]])
            self._rows.flush()

    def _open(self) -> None:
        """Open the growing files with the first image; names that are not UTF-8 are escaped in them, as JSON allows."""
        for name in () if self._is_open else self._parts:
            path = self._outputs.folder / name
            self._outputs.note(path)
            file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
            self._stack.enter_context(file)
            if path.suffix == ".csv":
                self._rows = file
                csv.writer(file, lineterminator="\n").writerow(COLUMNS)
            else:
                self._lines = file
        self._is_open = True

    def _finish(self) -> None:
        if self._lines:
            part = Path(self._lines.name)
            with part.open("rb") as lines, self._outputs.replace_own(self._json) as whole:
                for number, line in enumerate(lines):
                    whole.write((b",\n" if number else b"[\n") + line.rstrip(b"\n"))
                whole.write(b"\n]\n" if part.stat().st_size else b"[]\n")
            os.unlink(part)
            self._outputs.written.append(self._json)
        if self._rows:
            self._outputs.move(Path(self._rows.name), self._csv)
            self._outputs.written.append(self._csv)
