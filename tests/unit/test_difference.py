"""What changed between two contents: nothing is missed, everything is whole, and no
text makes it slow.
"""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from approvals.message_page.content.differences import difference
from approvals.message_page.content.word_diff import Effort, compare
from common.fingerprint import FIELDS, Attachment, Content, fingerprint

CONTENT = Content(
    sender="support@yourteam.example",
    sender_name="Support",
    to=("dana@northwind.example",),
    subject="Your refund",
    markdown="Hello Dana,\n\nwe pay EUR 12,400 by 30 November.\n\nBye",
    attachments=(Attachment("terms.pdf", "application/pdf", 100, "a" * 64),),
)


def changed(**fields):
    return difference(CONTENT, replace(CONTENT, **fields))


def read(pieces, *kinds):
    return "".join(piece.text for piece in pieces if piece.kind in kinds)


def test_file_of_the_same_name_with_other_bytes_is_another_file():
    (terms,) = CONTENT.attachments
    extra = Attachment("x.zip", "application/zip", 3)
    (change,) = changed(attachments=(replace(terms, sha256="b" * 64), extra))
    hashes = [one[-64:] for one in (*change.removed, *change.added)]
    assert hashes[:2] == ["a" * 64, "b" * 64]
    assert change.added[1].startswith("x.zip: application/zip, 3 bytes")
    (change,) = changed(attachments=(replace(terms, name="Terms.pdf.exe"),))
    assert [one[:13] for one in change.added] == ["Terms.pdf.exe"]


def test_field_that_only_one_source_has_is_unknown_not_empty():
    (found,) = changed(coverage=tuple(name for name in FIELDS if name != "bcc"))
    assert (found.label, found.removed, found.added) == ("Bcc", (), ())
    assert "may have changed" in found.notes[0]


def test_more_change_than_anybody_reads_is_cut_and_counted():
    (change,) = changed(markdown="x" * 256_000)
    assert change.left_out == 256_000 - 12_000
    assert "244,000 more changed characters" in " ".join(change.notes)


# Few letters, so that much stays the same.
WORDS = st.text("ab \n\r\u00e9<\u200b", max_size=40)


@given(WORDS, WORDS, st.sampled_from([0, 20, 200_000]))
def test_pieces_make_up_both_texts_whole(before, after, effort):
    found, _ = compare(before, after, Effort(effort))
    assert read(found, "same", "gone") == before
    assert read(found, "same", "new") == after


ADDRESSES = st.lists(
    st.sampled_from(["a@x.example", "A@x.example", "a@X.example", "b@y.example"]),
    max_size=3,
)
FILES = st.lists(
    st.builds(
        Attachment,
        st.sampled_from("ab"),
        st.sampled_from(["", "t"]),
        st.integers(0, 1),
        st.sampled_from("c"),
    ),
    max_size=3,
)
CONTENTS = st.builds(
    Content,
    sender=st.sampled_from(["a@x.example", "a@X.example", "b@x.example"]),
    to=ADDRESSES.map(tuple),
    subject=st.sampled_from(["", "a", "a "]),
    markdown=st.sampled_from([None, "", "a", "a\n"]),
    attachments=FILES.map(tuple),
    additions=st.dictionaries(
        st.sampled_from(["signature", "footer"]), st.sampled_from(["", "x", "y"])
    ),
    coverage=st.sampled_from([FIELDS, FIELDS[:-1], FIELDS[:5]]),
)


@given(CONTENTS, CONTENTS)
def test_contents_differ_where_their_fingerprints_do(before, after):
    assert bool(difference(before, after)) == (
        fingerprint(before) != fingerprint(after)
    )
