"""Commands that may wait for a second admin are found by name when that admin accepts."""

import os
import sys

import pytest

from tests.commands import run_command
from tests.house.test_house_rules import ROOT, SOURCES

CODE = """
import django
django.setup()
from people.second_admin.registry import COMMANDS
print(len(COMMANDS))
"""


@pytest.mark.slow
def test_every_command_that_may_wait_is_known_once_django_is_set_up():
    decorated = sum(one.read_text().count("\n@second_admin(") for one in SOURCES)
    known = run_command(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "dashboard.settings"},
        check=True,
    )
    assert int(known.stdout) == decorated > 0
