"""Entries of the catalogue: what they state, and which are selected; in Python and by the command."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from regard.api.catalogue import options_of_layer
from regard.cli import app
from regard.errors import RegardError
from regard.nn.attention import ATTENTION
from regard.nn.counter import count_on_map
from regard.profiling.catalogue import LEVELS, WITHOUT_QKV, Entry, entry, place_cost_with, positions_of, select

SMALL = Entry("A", "channel", True, True, False, (), 5, {"P3": 10**8, "P4": 2 * 10**8}, "When a.")
LARGE = Entry("B", "global", False, True, True, ("rotary",), 7, {"P3": 10**10, "P4": 10**8, "P5": 10**7}, "When b.")
CLOSED = replace(SMALL, name="C", family="local", exportable=False, qkv=True)
ENTRIES = [SMALL, LARGE, CLOSED]


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        ({}, "ABC"),
        ({"family": ["channel", "local"]}, "AC"),
        ({"linear": False}, "B"),
        ({"linear": True}, "AC"),
        ({"exportable": False}, "C"),
        ({"qkv": True}, "BC"),
        ({"pos_embed": "rotary"}, "B"),
        ({"max_gflops": 0.15}, "AC"),
        ({"max_gflops": 0.15, "level": "P4"}, "B"),
        ({"max_gflops": 1, "level": "P5"}, "B"),
        ({"linear": True, "qkv": True}, "C"),
    ],
)
def test_conditions_hold_together(conditions: dict[str, object], names: str) -> None:
    assert "".join(e.name for e in select(ENTRIES, **conditions)) == names


@pytest.mark.parametrize(
    ("conditions", "hint"),
    [({"family": ["chanel"]}, "channel"), ({"pos_embed": "rotery"}, "rotary"), ({"level": "P33"}, "P3")],
)
def test_an_unknown_name_is_reported_with_the_nearest(conditions: dict[str, object], hint: str) -> None:
    with pytest.raises(RegardError, match=hint):
        select(ENTRIES, **conditions)


@pytest.mark.parametrize("name", ["SE", "WindowAttention"])
def test_an_entry_states_what_the_module_is(name: str) -> None:
    found, card = entry(name), ATTENTION[name].card
    assert (found.family, found.linear, found.exportable, found.when) == (card.family, card.linear, True, card.when)
    assert found.parameters == sum(p.numel() for p in ATTENTION[name](LEVELS["P4"][0]).parameters())
    for level, (channels, side) in LEVELS.items():
        assert found.flops[level] == count_on_map(ATTENTION[name](channels), channels, side, side).flops
    assert found.qkv == ("relative" in found.pos_embed) == (name == "WindowAttention")


def test_every_module_says_when_one_would_want_it_in_one_sentence() -> None:
    for name, kind in ATTENTION.items():
        assert kind.card.when.startswith("When "), name
        assert kind.card.when.endswith("."), name
        assert ". " not in kind.card.when, name


def test_what_has_no_queries_and_keys_exists_and_takes_no_bias_of_their_products() -> None:
    assert ATTENTION.keys() >= WITHOUT_QKV
    assert not any({"relative", "log_cpb", "rotary"} & set(positions_of(name)) for name in WITHOUT_QKV)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["catalogue", *arguments])
    return done.exit_code, done.output


def test_the_command_selects_and_sorts(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = iter([LARGE, CLOSED, SMALL])
    monkeypatch.setattr("regard.nn.attention.ATTENTION", dict.fromkeys("BCA"))
    monkeypatch.setattr("regard.profiling.catalogue.entry", lambda _: next(entries))
    code, output = run("--linear", "--max-gflops", "0.15", "--at", "p3", "--format", "json")
    assert (code, [e["name"] for e in json.loads(output)]) == (0, ["C", "A"])


def test_the_command_reports_an_unknown_family() -> None:
    done = CliRunner().invoke(app, ["catalogue", "--family", "chanel"])
    assert isinstance(done.exception, RegardError)
    assert "channel" in str(done.exception)


def test_an_option_of_another_type_is_named_with_what_is_expected() -> None:
    for name, kind in ATTENTION.items():
        for option in options_of_layer(kind):
            if option.kind == "integer":
                cost = place_cost_with(name, 64, 5, {option.name: 1.5})
                assert (cost.option, cost.parameters) == (option.name, 0)
                assert cost.obstacle == f"{option.name} is 1.5, expected: a whole number"


def test_a_wrong_option_is_named_even_if_only_its_use_shows_it() -> None:
    assert place_cost_with("SE", 64, 5, {"nonsense": 1}).option == "nonsense"
    assert place_cost_with("LSKA", 64, 5, {"kernel_size": -1}).option == "kernel_size"
    wrong = place_cost_with("ConvolutionAsAttention", 64, 5, {"out_channels": -1})
    assert (wrong.option, "tensor" in wrong.obstacle) == ("out_channels", False)
    assert place_cost_with("SE", 64, 5, {"reduction": 8}).option == ""
