"""One line of JSON per epoch, for programs that follow a run."""

from __future__ import annotations

import json
from pathlib import Path

from regard import Callback
from regard.training.callbacks.events import EpochEnd, RunStart


class JsonLines(Callback):
    """Appends the results of each epoch to ``epochs.jsonl`` in the folder of the run."""

    def on_run_start(self, event: RunStart) -> None:
        """Remember where the run is kept."""
        self.file: Path = event.folder / "epochs.jsonl"

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Append a line."""
        line = {"epoch": event.epoch, **event.losses, "best": event.is_best}
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
