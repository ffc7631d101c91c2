"""Honest mail is hardly ever called otherwise: of 200 messages whose parts say the same
and of 200 letters of language models, two of each may be.
"""

import pytest

from risk import CHECKS
from risk.findings import RiskContext, run_checks
from risk.jobs import examine
from tests.corpus import honest_pairs, model_letters


@pytest.mark.slow
def test_parts_that_say_the_same_hardly_ever_differ():
    pairs = honest_pairs()
    assert len(pairs) == 200
    differing = {
        name: finding.detail
        for name, content in pairs.items()
        for finding in examine(content).findings
        if finding.rule == "parts_differ"
    }
    assert len(differing) <= 2, differing


@pytest.mark.slow
def test_letters_of_language_models_hardly_ever_have_a_high_finding():
    letters = model_letters()
    assert len(letters) == 200
    high = {}
    for name, content in letters.items():
        examined = examine(content)
        known = run_checks(CHECKS, content, examined.shown, RiskContext())
        for finding in (*examined.findings, *known):
            if finding.level == "high":
                high.setdefault(name, []).append((finding.rule, finding.detail))
    assert len(high) <= 2, high
