"""Which attention layers of a variant are its own, and are drawn for the report."""

from __future__ import annotations

from pathlib import Path

from tiny_studies import tiny_plan

from regard.ablate.pictures import attention_rows
from regard.ablate.variants import Lineup

BASE = "base: odd-one-out\ninsert: [{after: p4, module: MultiHeadSelfAttention, name: mix}]\n"


def test_what_replaces_attention_under_its_name_is_new(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    plan = tiny_plan(
        base=str(tmp_path / "base.yaml"), insert=["SE@p3", "SE@p4"], replace=["WindowAttention@mix"], control="none"
    )
    lineup = Lineup(plan)
    rows = {entry.name: attention_rows(lineup.start(entry, 0)) for entry in lineup.entries()}
    common = rows.pop("base")
    assert common.keys() == {"mix"}
    new = {name: [layer for layer, row in own.items() if common.get(layer) != row] for name, own in rows.items()}
    # Behind SE the base's own reads another layer, and is the same.
    assert new == {"SE@p3": ["p3.se"], "SE@p4": ["p4.se"], "WindowAttention@mix": ["mix"]}
