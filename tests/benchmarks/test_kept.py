from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from kept import Kept, about, processor, ratios, spread


def test_figures_are_measured_once_and_survive_the_process(tmp_path: Path) -> None:
    calls = []

    def measure() -> dict[str, int]:
        calls.append(1)
        return {"value": 7}

    file = tmp_path / "deep" / "raw.json"
    assert Kept(file, {"imgsz": 64}).once("a", measure)["value"] == 7
    again = Kept(file, {"imgsz": 64})
    assert again.once("a", measure)["value"] == 7
    assert len(calls) == 1
    assert list(again.rows) == ["a"]
    assert [f.name for f in file.parent.iterdir()] == ["raw.json"]


def test_figures_of_other_settings_are_not_mixed_in(tmp_path: Path) -> None:
    file = tmp_path / "raw.json"
    Kept(file, {"sizes": (64, 128)}).once("a", dict)
    Kept(file, {"sizes": (64, 128)})  # a tuple has become a list, which is no other setting
    with pytest.raises(SystemExit, match="move it away"):
        Kept(file, {"sizes": (64,)})


def test_figures_of_another_version_are_not_mixed_in(tmp_path: Path) -> None:
    file = tmp_path / "raw.json"
    Kept(file, {}).once("a", dict)
    document = json.loads(file.read_text())
    document["machine"]["torch"] = "1.0"
    file.write_text(json.dumps(document))
    with pytest.raises(SystemExit, match=r"1\.0"):
        Kept(file, {})


def test_a_processor_is_named_with_what_it_multiplies_bfloat16_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    monkeypatch.setattr("platform.machine", lambda: "z80")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False, "avx512_bf16": True, "avx2": True})
    assert processor() == "z80 AVX512 with avx512_bf16, 3 cores"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert processor() == "z80 AVX512, 3 cores"


@pytest.mark.parametrize(("loads", "busy"), [((0.1, 2.4), False), ((3.0, 5.0), True)])
def test_a_busy_machine_is_said_to_be_busy(loads: tuple[float, ...], busy: bool) -> None:
    machine = {"processor": "x86_64, 2 cores", "threads": 2, "torch": "2", "regard": "0"}
    rows = {str(i): {"load_before": load} for i, load in enumerate(loads)}
    line = about({"date": "2026-01-02", "machine": machine, "rows": rows})
    assert ("other work was running" in line) is busy
    assert f"{loads[0]} to {loads[1]}" in line


def test_ratios_are_paired_and_their_median_is_shown_with_both_ends() -> None:
    assert ratios([2, 9, 4], [1, 3, 8]) == [2, 3, 0.5]
    assert spread([2, 3, 0.5]) == "2.00 (0.50 to 3.00)"
