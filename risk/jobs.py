"""The parser's job that examines a message: it answers with the findings about what the
message says, its sums and its shape, as JSON.
"""

from dataclasses import replace

from common.fingerprint import Content, content_from_json
from parsing.jobs import json_job
from rendering.render import parse_content
from risk import check_content, check_files, check_greeting, check_secrets
from risk.examined import Examined
from risk.findings import Check, RiskContext, run_checks
from risk.similarity import amounts, shape
from risk.sums import sums_of

# Each check has the name of the rule whose findings it yields, except `encoded_words`,
# which yields findings of `looks_different`.
CHECKS: tuple[Check, ...] = (
    check_content.name_says_address,
    check_greeting.greeting_differs,
    check_content.link_text_lies,
    check_content.odd_link,
    check_content.looks_different,
    check_content.encoded_words,
    check_content.invisible_characters,
    check_content.remote_content,
    check_content.shown_as_source,
    check_content.not_visible,
    check_secrets.secret_in_body,
    check_secrets.payment_details,
    check_content.parts_differ,
    check_files.attachment_runs_code,
)


def examine(content: Content) -> Examined:
    """Return what the desk stores about a content, as far as the content says it."""
    parsed = parse_content(content)
    context = RiskContext(text_part=parsed.text_part)
    sums = sums_of(content, parsed)
    return Examined(
        # The document is long, and not needed to look for words.
        shown=replace(parsed.shown, document=""),
        words=parsed.words,
        findings=run_checks(CHECKS, content, parsed.shown, context),
        sums=sums,
        amounts=amounts(sums),
        shape=shape(content, parsed),
    )


JOBS = {
    "examine_content": json_job(
        lambda content: examine(content_from_json(content)), seconds=10
    )
}
