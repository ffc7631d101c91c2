"""Judges held messages again by the words that admins look for, after those were changed."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from approvals.examination import own_phrases
from approvals.models import OwnWord
from common.postgres.rows import run
from mirror.models import Message, Revision
from mirror.store import rendered_content, stored_content
from policy.rules.facts import own_words_in
from risk import RiskContext, restored, score
from risk.check_words import own_word
from risk.findings import worst_first

RULE = "own_word"

# The message first: who stores another version holds its row, and then neither statement finds the version.
_STORE_MESSAGE = """
UPDATE mirror_message SET risk = %s, risk_level = %s, rules = %s, policy_applied = 0, watch_at = statement_timestamp(),
  policy_facts = CASE WHEN policy_facts IS NULL THEN NULL
    ELSE jsonb_set(policy_facts, '{own_words}', coalesce(%s::jsonb, 'null')) END
WHERE id = %s AND revision_id = %s AND state = 'held' RETURNING id
"""


def judge_again(messages: Iterable[Message], weights: dict[str, int]) -> int:
    """Give held messages, which come with their version, the findings of the words of now; return how many changed."""
    by_connection: dict[int, Sequence[str]] = {}
    changed = 0
    for message in messages:
        assert message.revision is not None, "only what was fetched can be judged"
        connection = message.connection_id
        if connection not in by_connection:
            stored: Any = OwnWord.objects.of_connection(connection).as_json()
            by_connection[connection] = [row for (row,) in stored]
        changed += _judge(message, message.revision, by_connection[connection], weights)
    return changed


def _judge(message: Message, revision: Revision, words: Sequence[Any], weights: dict[str, int]) -> bool:
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
    total = score(after, weights)
    rules = list(dict.fromkeys(one.rule for one in after))
    stored = [asdict(one) for one in after]
    own_words = json.dumps(own_words_in(stored))
    if not run(_STORE_MESSAGE, [total.points, total.level, rules, own_words, message.pk, revision.pk]).rows:
        return False
    Revision.objects.filter(pk=revision.pk).update(findings=stored)
    return True
