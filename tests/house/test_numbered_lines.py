"""Lines promised by number, of the security list and of the contract's checklist, have a test of that name."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
SECURITY = [*range(1, 21), *range(22, 51), *range(54, 61), *range(63, 67)]
CONTRACT = range(44, 51)


def numbers_of(prefix):
    """The numbers in the names of tests that begin so."""
    found = re.compile(rf"^\s*(?:async )?def {prefix}(\d+)_\w+\(", re.MULTILINE)
    return {int(number) for path in TESTS.rglob("test_*.py") for number in found.findall(path.read_text())}


def test_every_promised_line_of_the_security_list_has_a_test():
    assert set(SECURITY) - numbers_of("test_security_line_") == set()


def test_every_line_of_the_checklist_that_is_the_desks_has_a_test():
    assert set(CONTRACT) - numbers_of("test_(?:line|checklist)_") == set()
