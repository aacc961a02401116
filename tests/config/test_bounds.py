"""Settings that no machine survives are errors before anything begins."""

from __future__ import annotations

import pytest

from regard.cli.options import options_of
from regard.config import PredictSettings, TrainSettings, ValSettings, checked
from regard.errors import RegardError


@pytest.mark.parametrize(
    ("kind", "name", "most"),
    [
        (TrainSettings, "workers", 1024),
        (TrainSettings, "devices", 1024),
        (TrainSettings, "seed", 2**32 - 1),
        (TrainSettings, "epochs", 10**6),
        (TrainSettings, "batch", 2**16),
        (TrainSettings, "imgsz", 2**14),
        (PredictSettings, "imgsz", 2**14),
        (PredictSettings, "max_det", 10**5),
        (ValSettings, "workers", 1024),
    ],
)
def test_the_largest_value(kind: type[TrainSettings], name: str, most: int) -> None:
    assert getattr(checked(kind, {name: most}), name) == most
    with pytest.raises(RegardError):
        checked(kind, {name: most + 1})


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 3000, "!!python/object/apply:os.system [id]", "&a [*a]", "'"])
def test_an_option_that_is_no_plain_value_is_an_error(value: str) -> None:
    with pytest.raises(RegardError):
        options_of([f"name={value}"])
