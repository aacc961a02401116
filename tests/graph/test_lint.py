from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hand_edits import (
    FILE,
    STOCK_N,
    all_follow,
    corrected,
    hand_graph,
    insert_by_hand,
    left_stale,
    none_follow,
    zoo_graph,
)
from sound_graphs import SOUND

from regard.errors import RegardError, RegardWarning
from regard.graph import edit
from regard.graph.build import build, check
from regard.graph.lint import WiringError
from regard.graph.read import parse_spec, read_spec, zoo
from regard.graph.spec import ModelSpec


def check_references(spec: ModelSpec) -> list[WiringError]:
    return [found for found in check(spec) if not found.note]


N = hand_graph(STOCK_N)
POSITIONS = range(24)


def line_of(words: str) -> int:
    """Return the line of the stock file on which ``words`` stand first."""
    return STOCK_N[: STOCK_N.index(words)].count("\n") + 1


PAIRS = list(itertools.combinations_with_replacement(POSITIONS, 2))


@pytest.mark.parametrize("after", POSITIONS)
def test_an_insertion_with_nothing_shifted_is_rejected_and_its_corrections_are_right(after: int) -> None:
    wrong = insert_by_hand(N, [after], lambda _place, _x: 0)
    found = check_references(wrong.spec)
    assert found
    meant = none_follow([after]) if after < 23 else all_follow([after])  # what follows row 23 is read by nobody
    assert parse_spec(corrected(wrong.text, found), FILE) == insert_by_hand(N, [after], meant).spec


@pytest.mark.parametrize("after", POSITIONS)
def test_every_subset_of_stale_references_is_rejected_and_its_corrections_are_right(after: int) -> None:
    right = insert_by_hand(N, [after], all_follow([after])).spec
    assert check_references(right) == []
    places = [place for place, x in N.references if x > after and place[0] > after]
    subsets = [s for k in range(1, len(places) + 1) for s in itertools.combinations(places, k)]
    for stale in random.Random(after).sample(subsets, min(len(subsets), 1)):
        wrong = insert_by_hand(N, [after], left_stale([after], stale))
        found = check_references(wrong.spec)
        assert found, stale
        assert {sign.row.line for sign in found} == {row + 8 for row, _ in stale}, (
            stale
        )  # five lines before, `head:`, the row put in
        assert parse_spec(corrected(wrong.text, found), FILE) == right, stale


def test_every_pair_of_insertions_with_nothing_shifted_is_rejected() -> None:
    for pair in random.Random(1).sample(PAIRS, 8):
        assert check_references(insert_by_hand(N, pair, lambda _place, _x: 0).spec), pair


def test_pairs_of_insertions_with_some_references_shifted_too_little_are_rejected() -> None:
    draw = random.Random(0)
    tried = 0
    for pair in draw.sample(PAIRS, 15):
        full, least = all_follow(pair), none_follow(pair)
        shifts = {place: draw.randint(0, full(place, x)) for place, x in N.references}
        if any(shifts[place] < least(place, x) for place, x in N.references):
            tried += 1
            assert check(insert_by_hand(N, pair, lambda p, _x, s=shifts: s[p]).spec), (pair, shifts)  # a note at least
    assert tried > 8


def test_correct_pairs_are_sound_whoever_of_the_readers_moved() -> None:
    draw = random.Random(0)
    for pair in draw.sample(PAIRS, 12):
        assert check_references(insert_by_hand(N, pair, all_follow(pair)).spec) == [], pair
        most, least = all_follow(pair), none_follow(pair)
        shifts = {place: draw.randint(least(place, x), most(place, x)) for place, x in N.references}
        if 23 not in pair or shifts[24, 2] == most((24, 2), 23):  # else nobody reads what follows row 23
            found = check_references(insert_by_hand(N, pair, lambda p, _x, s=shifts: s[p]).spec)
            assert found == [], (pair, shifts)


@pytest.mark.parametrize("after", POSITIONS)
def test_a_correct_insertion_is_sound_when_the_other_readers_stay(after: int) -> None:
    shift = none_follow([after]) if after < 23 else all_follow([after])
    assert check_references(insert_by_hand(N, [after], shift).spec) == []


@pytest.mark.parametrize("name", ["yolov5n6", "yolov5n-p2"])
def test_other_stock_shapes_are_compared_too(name: str) -> None:
    graph = zoo_graph(name)
    for after in range(0, len(graph.rows) - 1, 9):
        assert check_references(insert_by_hand(graph, [after], all_follow([after])).spec) == [], after
        assert check_references(insert_by_hand(graph, [after], lambda _place, _x: 0).spec), after
        for place, x in graph.references[::3]:
            if x > after:
                wrong = insert_by_hand(graph, [after], left_stale([after], [place]))
                assert check_references(wrong.spec), (after, place)


@pytest.mark.parametrize("removed", [2, 4, 6, 8, 9, 10, 13, 14, 17, 20])
def test_a_removal_with_a_reference_left_behind_is_rejected(removed: int) -> None:
    rows = tuple(row for i, row in enumerate(N.rows) if i != removed)
    places = [(i - (i > removed), k) for (i, k), x in N.references if x >= removed and i != removed]

    def shifted(stale: tuple[int, int] | None) -> str:
        moved = [
            tuple(x - (x >= removed and (i, k) != stale) if x >= 0 else x for k, x in enumerate(row.sources))
            for i, row in enumerate(rows)
        ]
        new = [row.__class__(s, row.number, row.module, row.args, row.head) for row, s in zip(rows, moved, strict=True)]
        return N.__class__(tuple(new), N.anchors).text

    assert check_references(parse_spec(shifted(None), FILE)) == []
    for place in places:
        if N.rows[place[0] + (place[0] >= removed)].sources[place[1]] == removed:
            continue  # what it read is gone: there is no old place to have stayed at
        try:
            found: object = check_references(parse_spec(shifted(place), FILE))
        except RegardError as error:  # it points at or behind itself
            found = error.line
        assert found, place


@pytest.mark.filterwarnings("ignore::regard.errors.RegardWarning")
@pytest.mark.parametrize("after", [2, 4, 9, 14, 17, 23])
def test_a_wrong_graph_does_not_build_and_the_message_says_where_and_what(after: int) -> None:
    wrong = insert_by_hand(N, [after], lambda _place, _x: 0)
    with pytest.raises(RegardError) as caught:
        build(wrong.spec)
    found = check_references(wrong.spec)
    for sign in found:
        assert f"{FILE}:{sign.row.line}: " in str(caught.value)
        assert sign.corrected in str(caught.value)
    assert "--allow-miswired" in str(caught.value)


def test_a_wrong_graph_builds_with_a_warning_on_request() -> None:
    wrong = insert_by_hand(N, [5], lambda _place, _x: 0)
    with pytest.warns(RegardWarning, match=r"hand\.yaml:\d+: .*not updated"):
        detector = build(wrong.spec, allow_miswired=True)
    assert detector.strides == (8, 16, 32)


@pytest.mark.parametrize("name", zoo())
def test_the_zoo_is_sound(name: str) -> None:
    assert check_references(read_spec(name)) == []


@pytest.mark.parametrize("name", SOUND)
def test_sound_graphs_unlike_any_stock_one_are_let_through(name: str) -> None:
    text, strides = SOUND[name]
    spec = parse_spec(text, FILE)
    assert check_references(spec) == []
    assert build(spec).strides == strides
    edited = edit.insert(spec, "SE", after=len(spec.layers) // 2, gate=False)
    assert build(edited).strides == strides


@pytest.mark.parametrize("name", ["ghost", "version 5", "reordered inputs", "five levels", "deeper backbone"])
def test_graphs_near_a_stock_one_are_compared_with_it(name: str) -> None:
    graph = hand_graph(SOUND[name][0])
    for after in range(0, len(graph.rows) - 1, 8):
        right = insert_by_hand(graph, [after], all_follow([after]))
        assert check_references(right.spec) == [], after
        assert check_references(insert_by_hand(graph, [after], lambda _place, _x: 0).spec), after


@pytest.mark.parametrize("name", ["ghost", "reordered inputs", "deeper backbone"])
def test_there_one_stale_reference_is_found_too(name: str) -> None:
    graph = hand_graph(SOUND[name][0])
    for after in range(1, len(graph.rows) - 1, 6):
        for place, x in graph.references:
            if x > after:
                assert check_references(insert_by_hand(graph, [after], left_stale([after], [place])).spec), (
                    after,
                    place,
                )


def test_a_row_put_in_is_not_taken_for_a_replaced_block_of_its_channels() -> None:
    graph = hand_graph(SOUND["ghost"][0])
    for stale in ((), ((12, 1),)):
        edited = insert_by_hand(graph, [5], left_stale([5], stale))
        found = check_references(parse_spec(edited.text.replace("SE, []", "SE, [512]"), FILE))
        assert bool(found) is bool(stale)


def test_a_correction_reads_what_was_put_after_the_row_last() -> None:
    for first, last in ((2, 4), (4, 6), (9, 14), (3, 17), (14, 20)):
        right = insert_by_hand(N, [first, last], all_follow([first, last])).spec
        for place, x in N.references:
            if x == last and place[0] > last:
                wrong = insert_by_hand(N, [first, last], left_stale([first, last], [place]))
                assert parse_spec(corrected(wrong.text, check_references(wrong.spec)), FILE) == right


def test_all_levels_of_a_corrected_head_are_read_behind_their_attention() -> None:
    after = [17, 20, 23]
    right = insert_by_hand(N, after, all_follow(after)).spec
    levels = [place for place, _ in N.references if place[0] == len(N.rows) - 1]
    wrong = insert_by_hand(N, after, left_stale(after, levels))
    assert parse_spec(corrected(wrong.text, check_references(wrong.spec)), FILE) == right


def test_a_level_before_attention_is_asked_about_where_the_others_have_none() -> None:
    levels = [place for place, _ in N.references if place[0] == len(N.rows) - 1]
    wrong = insert_by_hand(N, [17], left_stale([17], levels))
    (found,) = check_references(wrong.spec)
    assert "intended?" in found.what


def test_a_level_left_behind_is_not_taken_for_another() -> None:
    removed = (2, 8, 9)
    rows = tuple(
        replace(row, sources=tuple(x - sum(r < x for r in removed) if x >= 0 else x for x in row.sources))
        for i, row in enumerate(N.rows)
        if i not in removed
    )
    right = replace(N, rows=rows)
    assert right.rows[-1].sources == (14, 17, 20)
    wrong = replace(N, rows=(*rows[:-1], replace(rows[-1], sources=(17, 17, 20))))
    assert parse_spec(corrected(wrong.text, check_references(wrong.spec)), FILE) == right.spec


def test_edits_by_name_of_an_integer_file_are_sound() -> None:
    spec = parse_spec(STOCK_N, FILE)
    for row in spec.layers[:-1:3]:
        once = edit.insert(spec, "SE", after=row.name)
        assert check(once) == []
        if row.module in ("C3", "SPPF"):  # else the strides change, and the maps do not fit together
            assert check_references(edit.remove(spec, row.name)) == [], row.name
            assert check_references(edit.remove(once, row.name)) == [], row.name


@pytest.mark.parametrize("name", ["yolov5n", "yolov5n-p2"])
def test_swapped_detection_levels_are_rejected_with_the_corrected_row(name: str) -> None:
    graph = zoo_graph(name)
    head = graph.rows[-1]
    swapped = replace(graph, rows=(*graph.rows[:-1], replace(head, sources=(*head.sources[1::-1], *head.sources[2:]))))
    (found,) = check(swapped.spec)
    assert not found.note
    assert "not sorted" in found.what
    assert parse_spec(corrected(swapped.text, [found]), FILE) == graph.spec


def test_two_levels_of_one_stride_are_noted() -> None:
    text = STOCK_N.replace("[[17, 20, 23]", "[-1, 1, nn.Upsample, [None, 2, 'nearest']],\n   [[17, 20, 24]")
    (found,) = check(parse_spec(text, FILE))
    assert found.note
    assert "two detection levels have the same stride" in found.what


def test_stock_anchors_at_another_stride_are_noted() -> None:
    text = STOCK_N.replace("[17, 20, 23]", "[20, 23]").replace("  - [116,90, 156,198, 373,326]  # P5/32\n", "")
    with pytest.warns(RegardWarning, match=r"stride 16, and anchors for stride 8"):
        assert build(parse_spec(text, FILE)).strides == (16, 32)


def test_levels_listed_coarse_to_fine_get_the_anchors_of_their_size() -> None:
    detector = build(parse_spec(STOCK_N.replace("[17, 20, 23]", "[23, 20, 17]"), FILE))
    assert detector.strides == (32, 16, 8)
    assert detector.spec.anchors == build(parse_spec(STOCK_N, FILE)).spec.anchors[::-1]


def test_a_row_that_nobody_reads_is_rejected() -> None:
    text = STOCK_N.replace("   [[17, 20, 23]", "   [4, 1, Conv, [64, 1, 1]],\n   [[17, 20, 23]")
    (found,) = check(parse_spec(text, FILE))
    assert "nothing reads" in found.what


def test_nothing_is_said_of_an_edit_that_is_not_known() -> None:
    text = "nc: 2\nanchors: 3\nbackbone:\n  - [-1, 1, Conv, [64, 3, 8]]\n  - [-1, 1, Conv, [64, 3, 2]]\n"
    text += "  - [[0, 1], 1, Concat, [1]]\nhead:\n  - [[2], 1, Detect, [nc, anchors]]\n"
    (found,) = check(parse_spec(text, FILE))
    assert found.what == (
        "layer 'concat' (Concat): maps of different sizes: row 0 ('conv', Conv) has stride 8, "
        "row 1 ('conv_2', Conv) has stride 16"
    )
    assert found.corrected == "check its indices"


def test_a_concat_of_unequal_sizes_is_rejected() -> None:
    (found,) = check(parse_spec(STOCK_N.replace("[[-1, 6], 1, Concat", "[[-1, 8], 1, Concat"), FILE))
    assert "different sizes" in found.what
    assert found.row.line == line_of("[[-1, 6], 1, Concat")
    assert found.corrected == "corrected row: [[-1, 6], 1, Concat, [1]]"


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("[-1, 1, SPPf, [1024, 5]]", "'SPPF'"),
        ("[-1, 1, nn.Upsampel, [None, 2]]", "'nn.Upsample'"),
        ("[-1, 1, SPPF, {out_channels: 1024, kernel_sise: 5}]", "'kernel_size'"),
    ],
)
def test_unknown_modules_and_options_name_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(RegardError, match=f"did you mean {nearest}") as caught:
        build(parse_spec(STOCK_N.replace("[-1, 1, SPPF, [1024, 5]]", wrong), FILE))
    assert (caught.value.file, caught.value.line) == (FILE, line_of("SPPF"))


def test_a_row_that_only_the_others_show_to_be_wrong_is_described() -> None:
    """The bottom-up path reads the maps before the laterals, which can be meant, but all other numbers are outdated."""
    graph = hand_graph(SOUND["longer stem"][0])
    found = check_references(insert_by_hand(graph, [4], lambda _place, _x: 0).spec)
    described = [finding.row.name for finding in found if "those of other rows" in finding.what]
    assert described == ["head.p4_merge", "head.p5_merge"]
