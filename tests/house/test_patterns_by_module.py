"""Patterns read a stranger's text in the parser only: Python lets no other thread run
meanwhile. Each other module that uses `re` has its reason here.
"""

import ast
import tomllib

from tests.house.test_house_rules import (
    ROOT,
    SOURCES,
    parsed,
    pytestmark,  # noqa: F401
    relative,
)

REASONS = {
    "the whole text has to fit into a few characters": """
        alerts.channels.discord.interactions alerts.channels.discord.registration
        alerts.channels.inngest approvals.message_page.side_panel approvals.queue.filters
        approvals.reports common.fingerprint connections.hosted.probe
        connections.mailboxes.forms dashboard.templatetags.desk gateway.attachments
        common.return_addresses gateway.messages.strict_reader
        alerts.channels.discord.commands
    """,
    "it is typed into a field, or cut before: at most 20,000 characters": """
        alerts.channels.discord.channel alerts.cards.buttons
        alerts.channels.slack.channel alerts.channels.slack.format
        alerts.channels.base alerts.channels.requests common.csv_rows
        alerts.models.destinations
        approvals.collaboration approvals.examination
        approvals.policy_rules.views audit.search.filters common.durations
        common.logs common.mail_addresses common.references common.search_field
        connections.accounts.views
        gateway.api.answers gateway.auditing gateway.errors gateway.inbound.receive
        gateway.messages.submission gateway.smtp notices.replies
        people.sign_in.passwords policy.calendars policy.rules.conditions
        policy.rules.fields
        risk.words upstream.refused_fields
    """,
    "it is the product's own": """
        audit.trail.sentences common.credentials common.env dashboard.frame.bundles
        gateway.api.site risk.lookalikes
    """,
    "pages and workers use only what has no pattern": """
        rendering.links rendering.pictures
    """,
    "a program of its own, for the ledger": "audit.verifier.countersign_verify",
}
# They start the product, or stand in for others.
APART = ("launcher", "demo")


def uses_re(path):
    return any(
        isinstance(node, ast.Import) and any(one.name == "re" for one in node.names)
        for node in ast.walk(parsed(path))
    )


def test_modules_outside_the_parser_use_patterns_for_a_reason():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [parser] = [
        one["protected_modules"]
        for one in contracts["tool"]["importlinter"]["contracts"]
        if one["name"].startswith("Strangers' bytes")
    ]
    names = {
        relative(path).removesuffix(".py").replace("/", ".")
        for path in SOURCES
        if uses_re(path)
    }
    outside = {
        name
        for name in names
        if not any(f"{name}.".startswith(f"{one}.") for one in (*parser, *APART))
    }
    assert outside == set(" ".join(REASONS.values()).split())
