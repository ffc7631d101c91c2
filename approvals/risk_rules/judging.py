"""Judges held messages again by the words that admins look for, after those were
changed.
"""

from collections.abc import Iterable
from dataclasses import asdict

from django.db.models.functions import Now

from approvals.examination import own_phrases
from approvals.models import OwnWord, Review
from mirror.models import Message, Revision
from mirror.states import MessageState
from mirror.store import rendered_content, stored_content
from policy.rules.facts import own_words_in
from risk import RiskContext, restored, score
from risk.check_words import own_word
from risk.findings import worst_first

RULE = "own_word"


def judge_again(messages: Iterable[Message], weights: dict[str, int]) -> int:
    """Give held messages, which come with their version, the findings of the words of
    now; return how many changed.
    """
    by_connection: dict[int, list[OwnWord]] = {}
    changed = 0
    for message in messages:
        assert message.revision is not None, "only what was fetched can be judged"
        connection = message.connection_id
        if connection not in by_connection:
            by_connection[connection] = list(
                OwnWord.objects.of_connection(connection).heaviest_first()
            )
        changed += _judge(message, message.revision, by_connection[connection], weights)
    return changed


def _judge(
    message: Message, revision: Revision, words: list[OwnWord], weights: dict[str, int]
) -> bool:
    phrases = own_phrases(words, mailbox=message.mailbox_id)
    others = [restored(one) for one in revision.findings if one.get("rule") != RULE]
    found = []
    if phrases:
        content = stored_content(revision)
        rendered = rendered_content(revision, content)
        found = list(own_word(content, rendered, RiskContext(own_phrases=phrases)))
    before = [restored(one) for one in revision.findings]
    after = worst_first((*others, *found))
    if list(after) == before:
        return False
    # The message first: who stores another version holds its row, and then this finds
    # the version no more.
    current = Message.objects.filter(
        pk=message.pk, revision=revision, state=MessageState.HELD
    )
    if not current.select_for_update(no_key=True).values_list("pk"):
        return False
    total = score(after, weights)
    stored = [asdict(one) for one in after]
    review = Review.objects.get(pk=message.pk)
    review.risk = total.points
    review.risk_level = total.level
    review.rules = list(dict.fromkeys(one.rule for one in after))
    review.policy_applied = 0
    review.watch_at = Now()
    if review.policy_facts is not None:
        review.policy_facts["own_words"] = own_words_in(stored)
    review.save(
        update_fields=[
            "risk",
            "risk_level",
            "rules",
            "policy_applied",
            "watch_at",
            "policy_facts",
        ]
    )
    Revision.objects.filter(pk=revision.pk).update(findings=stored)
    return True
