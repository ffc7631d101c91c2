"""The checks of `./run check`, besides the other tests: types, imports, formats, lint,
migrations, deployment.
"""

import os

import pytest

from launcher.quality import run, steps

CHECKS = (
    "mypy",
    "imports",
    "format",
    "templates",
    "assets",
    "lint",
    "migrations",
    "deploy",
)
# Early, because the longest takes as long as a hundred tests.
pytestmark = pytest.mark.xdist_group("checks")


@pytest.mark.parametrize("name", CHECKS)
def test_check_holds(name):
    found = {
        step.name: step
        for step in steps(
            {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
        )
    }
    assert sorted(found) == sorted(CHECKS)
    result = run(found[name])
    assert result.returncode == 0, result.stdout
