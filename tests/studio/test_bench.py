"""The workbench: what it keeps, and what it forgets."""

from __future__ import annotations

import numpy as np
import pytest

from regard.errors import RegardError
from regard.studio import bench as bench_module
from regard.studio.bench import Bench


def test_images_are_kept_up_to_a_number_and_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "MOST_BYTES", 3 * 7 * 11 * 3)
    bench, pixels = Bench(), np.zeros((7, 11, 3), np.uint8)
    keys = [bench.add_image(pixels, str(i)) for i in range(4)]
    with pytest.raises(RegardError, match="not kept"):
        bench.image(keys[0])
    assert [bench.image(key).name for key in keys[1:]] == ["1", "2", "3"]
    large = bench.add_image(np.zeros((70, 110, 3), np.uint8), "large")
    assert list(bench.images) == [large]
