"""Findings that a reviewer confirmed: the verdict keeps that they were viewed."""

from approvals.decisions.forms import serious_findings
from tests.factories import make_message
from tests.integration.deciding import decide


def test_findings_confirmed_where_high_risk_is_approved_count_as_viewed(
    connection, reviewer
):
    message = make_message(connection, markdown="Pay at <https://xn--pypal-4ve.com>.")
    rules = {one.rule for one in serious_findings(message)}
    seen = decide(message, reviewer, risk_read=rules).verdict.seen
    assert {one["rule"] for one in seen["findings"] if one["viewed"]} == rules
