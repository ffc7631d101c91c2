"""The checks of `./run check`, besides the other tests: types, imports, formats, lint,
migrations, deployment.
"""

import os

import pytest

from launcher.quality import CHECKS, run, variables_of_checks

# Early, because the longest takes as long as a hundred tests.
pytestmark = pytest.mark.xdist_group("checks")


# Without a process of its own: test_migrations.py.
@pytest.mark.parametrize("name", [one for one in CHECKS if one != "migrations"])
def test_check_holds(name):
    servers = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
    result = run(name, variables_of_checks(servers))
    assert result.returncode == 0, result.stdout
