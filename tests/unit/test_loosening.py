"""What counts as loosening: of an allowlist by laws against the judgement, of modes and
settings by tables.
"""

from datetime import UTC, datetime, timedelta
from itertools import product

from hypothesis import example, given
from hypothesis import strategies as st

from connections.mailboxes.commands import desk_settings_loosen
from mirror.oversight_modes import NAMES, is_below, is_minimum_lower
from policy.allowlists.judgement import ApplicableList, Entry, judge, loosens

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
MODES = ("off", "monitor", "contacts", "enforce")
ADDRESSES = ("ann@x.example", "ben@x.example", "ann@y.example")
PATTERNS = (*ADDRESSES[:2], "x.example", "y.example")
CONTACTS = {"ben@x.example"}
ENDS = st.sampled_from(
    [None, NOW - timedelta(days=1), NOW + timedelta(days=1), NOW + timedelta(days=9)]
)
ENTRIES = st.dictionaries(st.sampled_from(PATTERNS), ENDS, max_size=4)


def allowed(lists, at):
    """Return whom these restrictions let mail go to."""
    rows = []
    for key, (mode, entries) in enumerate(lists):
        there = {one: Entry(one, ends) for one, ends in entries.items()}
        rows.append(ApplicableList(key, str(key), mode, there))
    judged = judge(ADDRESSES, rows, CONTACTS, at)
    return set(ADDRESSES) - set(judged.refused)


def changed(entries, put, removed):
    return {
        one: ends
        for one, ends in {**entries, **put}.items()
        if one not in removed or one in put
    }


SOON = NOW + timedelta(days=1)
LATER = NOW + timedelta(days=9)


# Each is called looser for one reason alone.
@example(
    "enforce", {"x.example": SOON}, "enforce", {"x.example": LATER}, set(), None, 3
)
@example("enforce", {}, "enforce", {"x.example": LATER}, set(), None, 3)
@example("enforce", {}, "monitor", {}, set(), None, 0)
@example("off", {"x.example": None}, "monitor", {}, set(), ("enforce", {}), 0)
@given(
    mode=st.sampled_from(MODES),
    entries=ENTRIES,
    mode_after=st.sampled_from(MODES),
    put=ENTRIES,
    removed=st.sets(st.sampled_from(PATTERNS)),
    other=st.none() | st.tuples(st.sampled_from(MODES), ENTRIES),
    days=st.integers(0, 12),
)
def test_change_that_does_not_loosen_a_restriction_lets_nobody_else_be_written_to(
    mode, entries, mode_after, put, removed, other, days
):
    after = changed(entries, put, removed)
    at = NOW + timedelta(days=days)
    is_alone = other is None or other[0] == "off"
    live = any(ends is None or ends > NOW for ends in entries.values())
    is_looser = loosens(
        kind="restriction",
        mode_before=mode,
        mode_after=mode_after,
        before={one: ends for one, ends in entries.items() if one in put},
        put=put.items(),
        has_live_entries=live,
        is_alone=is_alone,
    )
    beside = [other] if other else []
    if not is_looser:
        assert allowed([(mode_after, after), *beside], at) <= allowed(
            [(mode, entries), *beside], at
        )


@given(
    mode=st.sampled_from(("off", "monitor", "enforce")),
    entries=ENTRIES,
    mode_after=st.sampled_from(("off", "monitor", "enforce")),
    put=ENTRIES,
    removed=st.sets(st.sampled_from(PATTERNS)),
    days=st.integers(0, 12),
)
def test_change_that_does_not_loosen_a_bypass_lets_nothing_else_out_without_review(
    mode, entries, mode_after, put, removed, days
):
    at = NOW + timedelta(days=days)

    def out(state, rows):
        return {
            one
            for one, ends in rows.items()
            if state == "enforce" and (ends is None or ends > at)
        }

    is_looser = loosens(
        kind="bypass",
        mode_before=mode,
        mode_after=mode_after,
        before={one: ends for one, ends in entries.items() if one in put},
        put=put.items(),
        has_live_entries=True,
        is_alone=True,
    )
    if not is_looser:
        assert out(mode_after, changed(entries, put, removed)) <= out(mode, entries)


@given(
    kind=st.sampled_from(("restriction", "bypass")),
    mode=st.sampled_from(("off", "enforce")),
    entries=ENTRIES,
)
def test_what_changes_nothing_or_only_removes_does_not_loosen(kind, mode, entries):
    facts = {
        "kind": kind,
        "mode_before": mode,
        "mode_after": mode,
        "has_live_entries": True,
        "is_alone": False,
    }
    assert not loosens(**facts, before=entries, put=entries.items())
    assert not loosens(**facts, before={}, put=())


def test_weaker_modes_loosen_a_restriction_and_stricter_ones_a_bypass():
    def is_looser(kind, before, after):
        facts = {"before": {}, "put": (), "has_live_entries": False, "is_alone": True}
        return loosens(kind=kind, mode_before=before, mode_after=after, **facts)

    for before, after in product(MODES, MODES):
        assert is_looser("restriction", before, after) == (
            MODES.index(after) < MODES.index(before)
        )
        assert is_looser("bypass", before, after) == (
            MODES.index(after) > MODES.index(before)
        )


def test_mailbox_below_the_minimum_and_lower_minimum():
    for mode, minimum in product(NAMES, NAMES):
        assert is_below(mode, per_call=False, minimum=minimum) == (
            NAMES.index(mode) > NAMES.index(minimum)
        )
        assert is_minimum_lower(mode, than=minimum) == (
            NAMES.index(mode) > NAMES.index(minimum)
        )
    assert is_below("gated_all", per_call=True, minimum="gated_send")
    assert not is_below("read_only", per_call=True, minimum="gated_send")
    assert not is_below("autonomous", per_call=True, minimum="autonomous")
    assert not is_below("autonomous", per_call=True, minimum="")
    assert is_below("later_mode", per_call=False, minimum="monitored")
    assert not is_below("", per_call=False, minimum="gated_all")
    assert is_minimum_lower("", than="gated_send")
    assert not is_minimum_lower("gated_send", than="")


def test_desk_settings_that_loosen():
    strict = {
        "undo_window": timedelta(seconds=5),
        "expire_after": timedelta(hours=8),
        "editor_may_approve": False,
        "loads_pictures": False,
    }
    looser = (
        {"undo_window": timedelta(0)},
        {"expire_after": None},
        {"editor_may_approve": True},
        {"loads_pictures": True},
    )
    for one in looser:
        assert desk_settings_loosen(strict, strict | one), one
        assert not desk_settings_loosen(strict | one, strict), one
    assert not desk_settings_loosen(
        strict, strict | {"undo_window": timedelta(seconds=9)}
    )
