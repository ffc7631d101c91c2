"""The table of an email's states, every state by every change; which oversight mode holds;
and small readers.
"""

import itertools

import pytest

from common.mail_addresses import (
    MAX_PATTERN,
    ascii_address,
    clean_address,
    clean_addresses,
    read_pattern,
)
from gateway.models import Mailbox
from gateway.states import (
    Change,
    InvalidTransition,
    Mode,
    allows,
    is_gated,
    next_state,
    stricter,
)

# Once more by hand, in the words that clients get: a state, a change, and where it
# leads. There is no other way.
WAYS = """
    pending_scan hold pending_send_approval
    pending_scan release scheduled
    pending_send_approval approve scheduled
    pending_send_approval reject rejected
    pending_send_approval cancel cancelled
    pending_inbound_approval approve unread
    pending_inbound_approval reject rejected
    pending_inbound_approval cancel cancelled
    scheduled hold pending_send_approval
    scheduled release scheduled
    scheduled send sent
    scheduled fail send_failed
    scheduled cancel cancelled
    unread open read
    unread report_spam spam_quarantined
    read report_spam spam_quarantined
    archived report_spam spam_quarantined
    spam_flagged report_spam spam_quarantined
    spam_flagged not_spam unread
    spam_quarantined not_spam unread
"""
STATUSES = (
    "pending_scan pending_send_approval pending_inbound_approval scheduled sent send_failed rejected cancelled"
    " unread read archived deleted spam_flagged spam_quarantined"
)
CHANGES = "hold release approve reject cancel send fail open report_spam not_spam"


def test_every_state_by_every_change_follows_the_table():
    ways = {
        (before, change): after
        for before, change, after in map(str.split, WAYS.strip().splitlines())
    }
    found = {}
    for status, change in itertools.product(STATUSES.split(), CHANGES.split()):
        if allows(status, Change(change)):
            found[status, change] = str(next_state(status, Change(change)))
            continue
        with pytest.raises(
            InvalidTransition, match=f"^An email that is {status} cannot {change}.$"
        ):
            next_state(status, Change(change))
    assert found == ways


def test_effective_mode_is_the_stricter_unless_the_mailbox_allows_looser():
    for mailbox, asked in itertools.product(Mode, Mode):
        both = (mailbox, asked)
        held = Mailbox(oversight_mode=mailbox).mode_for(asked)
        assert held is stricter(*both) is min(both, key=list(Mode).index), both
        free = Mailbox(oversight_mode=mailbox, allow_looser_per_call=True)
        loosest = Mode.READ_ONLY if mailbox is Mode.READ_ONLY else asked
        assert free.mode_for(asked) is loosest, both
    assert free.mode_for(None) is Mode.AUTONOMOUS
    assert list(Mode) == [
        "read_only",
        "gated_all",
        "gated_send",
        "monitored",
        "autonomous",
    ]
    assert {mode for mode in Mode if is_gated(mode)} == {
        Mode.GATED_ALL,
        Mode.GATED_SEND,
    }


# --- addresses, and the grammar of allowlists ---


NO_ADDRESSES = """
a
@x.example
a@x
a@acme.com@evil.io
a b@x.example
a@x.example>
a@x.example\x00
<a@x.example> <b@x.example>
"a b"@x.example
a@evil.example <b@x.example> c
a​b@x.example
ａdmin@x.example
a＠x.example
danaד@x.example
‮anad@x.example
😀@x.example
ᅟ@x.example
é@localhost
..@x.example
".a b"@x.example
a@-x.example
a@[127.0.0.1]
a@10.0.0.1
a@127.1
a@2130706433
a@0x7f.0.0.0x1
a@x.0x
a@localhost
-oQ@x.example
<-bs@x.example>
|cmd@x.example
`id`@x.example
${run{id}}@x.example
/etc/passwd@x.example
:include:/etc/passwd@x.example
"|cmd"@x.example
\\|cmd@x.example
｜cmd@x.example
－oQ@x.example
""".splitlines()
NO_ADDRESSES += [
    "a@x.example\r\nBcc: b@x.example", "a\r\n\x1b[31m",
    f"{'a' * 65}@x.example", f"a@{'x' * 64}.example", f"a@{'x.' * 130}example",
]  # fmt: skip
NO_ENTRIES = """
*
*.
*@
**.x.example
*.com
com
*@com
.x.example
@x.example
*@*.x.example
a.*.example
x.*
*x.example
sales*@x.example
*@a@x.example
a b@x.example
x .example
a@x.example,b@x.example
<jane@x.example>
jane@*.x.example
x.example/../y
a%b@x.example
x.example!a@y.example
-oQ@x.example
|cmd@x.example
10.0.0.1
*.0.0.1
x.0x1
localhost
http://x.example
-x.example
x_y.example
\ud800.example
""".splitlines()
NO_ENTRIES += ["x.example\nevil.example", "a" * 64 + ".example", "x." * 200 + "example"]


def test_clean_address_returns_the_bare_form():
    for text, bare in {
        " A.b+c@X.Example. ": "A.b+c@x.example",
        '"Doe, Jane" <jane@x.example>': "jane@x.example",
        "jane@bücher.example": "jane@xn--bcher-kva.example",
        "taro..yamada.@x.example": "taro..yamada.@x.example",
        '"taro..yamada."@x.example': "taro..yamada.@x.example",
        "Jörg+x@x.example": "Jörg+x@x.example",
        "jo\u0308rg@x.example": "jörg@x.example",
        "用户@例子.example": "用户@xn--fsqu00a.example",
        "דנה.1@x.example": "דנה.1@x.example",
        # Otherwise it would be compared like Kate's, and leave for another's.
        "\u212aate@x.example": "Kate@x.example",
        "o'hara-de.la+r&d/y=z_1~@x.example": "o'hara-de.la+r&d/y=z_1~@x.example",
    }.items():
        assert clean_address(text) == bare
    assert clean_addresses("a@x.example, b@x.example,, A@X.example") == [
        "a@x.example",
        "b@x.example",
    ]
    assert clean_addresses(r'"Doe, J; \"x" <j@x.example>; b@x.example') == [
        "j@x.example",
        "b@x.example",
    ]


def test_mailboxes_and_people_have_addresses_in_ascii():
    assert ascii_address("Ana <ana@bücher.example>") == "ana@xn--bcher-kva.example"
    with pytest.raises(ValueError, match="only ASCII is allowed before the @"):
        ascii_address("jörg@x.example")


def test_clean_address_refuses_what_is_none_and_shows_no_control_characters():
    for text in NO_ADDRESSES:
        with pytest.raises(ValueError, match="email address") as caught:
            clean_address(text)
        assert not {"\r", "\n", "\x1b", "\x00"} & set(str(caught.value)), text
    for value in (5, {"a": 1}, [["a@x.example"]]):
        with pytest.raises(ValueError, match="must be an address"):
            clean_addresses(value)


def test_hostile_entry_is_refused_and_named():
    for pattern in NO_ENTRIES:
        with pytest.raises(ValueError, match=r"domain|too long|command|%") as caught:
            read_pattern(pattern)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(ascii(pattern.strip()[:80]))
    assert read_pattern(" *@Bücher。Example. ") == "xn--bcher-kva.example"
    # A row holds so many characters.
    labels = ".".join(["a" * 63] * 3)
    assert len(read_pattern(f"*.{labels}.{'b' * 60}")) == MAX_PATTERN
    with pytest.raises(ValueError, match="none of"):
        read_pattern(f"*.{labels}.{'b' * 61}")
