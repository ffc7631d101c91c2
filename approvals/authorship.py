"""Remembers for 30 days what people wrote at the desk: edits, suggestions, reasons,
comments and commands. A message that has such words counts as edited by them, whoever
sends it. Only hashes of the words are stored.
"""

import hashlib
from collections.abc import Collection, Iterable
from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db.models import BigIntegerField, F, Value
from django.db.models.functions import Now

from approvals.desk_messages import Among
from approvals.models import Passage
from common.actors import Actor
from common.fingerprint import Content
from common.mail_addresses import folded
from common.words import words_of
from mirror.models import Message
from mirror.store import stored_content
from risk.addresses import bare_address
from risk.lookalikes import skeleton

# So many words in a row tell who wrote them.
RUN = 6
LASTS = timedelta(days=30)


def passages_of(texts: Iterable[str], recipients: Iterable[str] = ()) -> set[int]:
    """Return a hash of each six words in a row of one of these texts. With recipients
    also one of all words and recipients together: it tells short texts and edits of the
    recipients alone.
    """
    passages = []
    everything: list[str] = []
    for text in texts:
        words = list(map(skeleton, words_of(text)))
        passages += [words[at : at + RUN] for at in range(len(words) - RUN + 1)]
        everything += words
    if addresses := {folded(bare_address(one)) for one in recipients}:
        passages.append([*everything, *sorted(addresses)])
    return {_hash(" ".join(one)) for one in passages}


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def passages_in(content: Content, html_text: str) -> set[int]:
    """Return the passages of a message; `html_text` is the text of its HTML."""
    texts = (content.subject, content.markdown or html_text)
    return passages_of(texts, content.recipients) | passages_of([html_text])


def note_words(
    actor: Actor,
    *texts: str,
    recipients: Iterable[str] = (),
    about: Message | None = None,
) -> None:
    """Remember what a person wrote, except for words that the message has already."""
    passages = passages_of(texts, recipients)
    if not passages:
        return
    if about and about.revision:
        known = stored_content(about.revision)
        passages -= passages_in(known, about.revision.html_text)
    Passage.objects.filter(written_at__lt=Now() - LASTS).delete()
    # In order, so that two people who write the same do not block each other.
    Passage.objects.bulk_create(
        [Passage(person_id=int(actor.id), digest=one) for one in sorted(passages)],
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
