"""`./run mutants`: its table names what exists, and it works."""

import pytest

from launcher import quality
from tests.mutation.modules import MODULES, ROOT


def test_table_names_files_and_tests_that_exist():
    patterns = [pattern for module in MODULES.values() for pattern in (*module.broken, *module.tests)]
    assert [pattern for pattern in patterns if not any(ROOT.glob(pattern))] == []


@pytest.mark.slow
def test_every_way_to_break_the_state_machines_is_noticed(capfd):
    assert quality.mutants(["states"]) == 0
    assert "100.0% noticed" in capfd.readouterr().out
