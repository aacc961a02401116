from __future__ import annotations

import backends


def test_the_page_compares_each_with_the_plain_form_and_states_the_cost_of_crowds() -> None:
    machine = {"processor": "x86_64, 2 cores", "threads": 2, "torch": "2", "regard": "0"}
    networks = {backends.PLAIN: [0.02, 0.04, 0.09], "other": [0.01, 0.01, 0.03]}
    crowds = {"suppress 2000": [0.003], "suppress 30": [0.001], "assign 2000": [0.005], "assign 30": [0.0004]}
    rows = {
        "640 px": {"seconds": networks, "load_before": 0.5},
        "crowds": {"seconds": crowds, "load_before": 0.5},
    }
    text = backends.page({"date": "2026-01-01", "machine": machine, "rows": rows}, "python benchmarks/backends.py")
    assert f"| {backends.PLAIN} | 40.0 | 1.00 (1.00 to 1.00) |\n| other | 10.0 | 3.00 (2.00 to 4.00) |" in text
    assert "| 30 | 1.0 | 0.40 |\n| 2,000 | 3.0 | 5.00 |" in text


def test_crowds_are_suppressed_to_their_objects_and_assigned() -> None:
    found = backends.measure_crowds((3, 7), 1)["seconds"]
    assert list(found) == ["suppress 3", "suppress 7", "assign 3", "assign 7"]
    assert all(times[0] > 0 for times in found.values())
