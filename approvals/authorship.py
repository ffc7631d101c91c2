"""Remembers for 30 days what people wrote at the desk: edits, suggestions, reasons,
comments and commands; of edits and suggestions also the recipients and links that they
added. A message that has such words, goes to such a recipient for the first time, or
has such a link counts as edited by them, whoever sends it. Only hashes are stored.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import timedelta
from urllib.parse import unquote
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db.models import BigIntegerField, F, Value
from django.db.models.functions import Now

from approvals.desk_messages import Among
from approvals.models import Passage
from common.actors import Actor
from common.fingerprint import Content
from common.mail_addresses import folded
from common.words import is_read_whole, words_of
from mirror.models import Message, Revision
from mirror.store import stored_content
from parsing.client import from_source
from rendering.links import find_hosts, readable
from risk.addresses import bare_address
from risk.examined import examine_content
from risk.lookalikes import skeleton

# So many words in a row tell who wrote them.
RUN = 6
LASTS = timedelta(days=30)


def passages_of(
    texts: Collection[str], recipients: Iterable[str] = (), *, least: int = RUN
) -> set[int]:
    """Return a hash of each six words in a row of one of these texts, and of the whole
    of a shorter one that has at least so many words. With recipients also one of all
    words and recipients together: it tells short texts and edits of the recipients
    alone.

    Signs are read as blanks, and as nothing: they may be put into words ("re-fund").
    """
    passages = []
    addresses = sorted(folded_addresses(recipients))
    for sign in (" ", ""):
        everything: list[str] = []
        for text in texts:
            words = list(map(skeleton, words_of(text, sign=sign)))
            starts = range(max(1, len(words) - RUN + 1)) if len(words) >= least else ()
            passages += [words[at : at + RUN] for at in starts]
            everything += words
        if addresses:
            passages.append([*everything, *addresses])
    return {_hash(" ".join(one)) for one in passages}


def folded_addresses(recipients: Iterable[str]) -> set[str]:
    """Return the address of each recipient as `folded` does."""
    return {folded(bare_address(one)) for one in recipients}


def recipients_and_links(recipients: Iterable[str], links: Iterable[str]) -> set[int]:
    """Return a hash of each recipient, and of each link (`Examined.links`)."""
    # No word has a colon, so none of these is the hash of words.
    named = {f"to:{one}" for one in folded_addresses(recipients)}
    return set(map(_hash, named.union(f"link:{one}" for one in links)))


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def passages_in(
    content: Content, html_text: str, *, is_unsafe: bool, least: int = RUN
) -> set[int] | None:
    """Return the passages of a message; `html_text` is the text of its HTML, which is
    not known of one that `is_unsafe`. None if not all of its text was read.
    """
    text = content.markdown or html_text
    is_read = is_read_whole(text) and is_read_whole(html_text)
    if not is_read or (is_unsafe and content.html is not None):
        return None
    passages = passages_of((content.subject, text), content.recipients, least=least)
    return passages | passages_of([html_text], least=least)


def passages_of_revision(revision: Revision, *, least: int = RUN) -> set[int] | None:
    """Return the passages of a stored version, as `passages_in` does."""
    return passages_in(
        stored_content(revision),
        revision.html_text,
        is_unsafe=revision.is_unsafe,
        least=least,
    )


def added_links(message: UUID, first: Content, markdown: str) -> set[str]:
    """Return the links of an edited text that its first version does not have. It asks
    the parser, so it is not for transactions. Raises ParserUnavailable.
    """
    if markdown == first.markdown:
        return set()
    edited = replace(first, markdown=markdown, html=None)
    with from_source(f"message {message}"):
        before, after = map(examine_content, (first, edited))
    return set(after.links).difference(before.links)


def note_words(
    actor: Actor,
    *texts: str,
    recipients: Iterable[str] = (),
    links: Iterable[str] = (),
    about: Message | None = None,
) -> None:
    """Remember what a person wrote, except for words and recipients that the message
    has already; and these links (`added_links`). Without recipients, those whom the
    text names count: a reason may say to whom to write.
    """
    recipients = tuple(recipients) or [
        one.text
        for text in texts
        # Links for mail may have an @ as %40.
        for written in (text, unquote(text))
        for one in find_hosts(readable(written))
        if one.local
    ]
    passages = passages_of(texts, recipients) | recipients_and_links(recipients, links)
    if not passages:
        return
    if about and (revision := about.revision):
        known = stored_content(revision).recipients
        passages -= passages_of_revision(revision) or set()
        passages -= recipients_and_links(known, ())
    Passage.objects.filter(written_at__lt=Now() - LASTS).delete()
    # In order, so that two people who write the same do not block each other.
    Passage.objects.bulk_create(
        [Passage(person_id=actor.person_id, digest=one) for one in sorted(passages)],
        update_conflicts=True,
        unique_fields=["digest", "person"],
        update_fields=["written_at"],
    )


def writers_of(passages: Collection[int] | None) -> list[int]:
    """Return the keys of the people who wrote one of these passages lately. If they are
    not known (None), it may be anybody who wrote.
    """
    rows = Passage.objects.filter(written_at__gte=Now() - LASTS)
    if passages is not None:
        among = Value(sorted(passages), ArrayField(BigIntegerField()))
        rows = rows.filter(Among(F("digest"), among))
    return sorted(rows.values_list("person", flat=True).distinct())
