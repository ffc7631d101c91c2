"""Every benchmark still runs. Whether its goal holds is asked on a quiet machine, by
`./run bench`.
"""

import math
import os
import re
import subprocess
import sys

import pytest

from benchmarks import page
from benchmarks.__main__ import NAMES
from launcher.paths import ROOT
from launcher.postgres import APPLICATION, DATABASE, OWNER
from launcher.quality import find_chromium
from tests.commands import run_command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One data folder for all of them, with the static files."""
    folder = tmp_path_factory.mktemp("bench")
    command = [
        sys.executable,
        "manage.py",
        "collectstatic",
        "--no-input",
        "--verbosity=0",
    ]
    subprocess.run(
        command, env={**os.environ, "DATA_DIR": str(folder)}, cwd=ROOT, check=True
    )
    return folder


# In one process, so that the static files are collected once.
@pytest.mark.slow
@pytest.mark.xdist_group("benchmarks")
@pytest.mark.parametrize("name", NAMES)
def test_benchmark_at_a_tiny_size_reports_figures_and_a_ratio(name, folder):
    if name == "desk_keys" and find_chromium() is None:
        pytest.skip("no Chromium: install chromium-headless-shell")
    database = {
        "DATABASE_URL": os.environ["DATABASE_URL"].replace(OWNER, APPLICATION),
        "BENCH_TEMPLATE": DATABASE,
    }
    command = [sys.executable, "-m", "benchmarks", "--smoke", name]
    environment = {**os.environ, **database, "DATA_DIR": str(folder)}
    before = page.PAGE.read_bytes()
    ran = run_command(command, env=environment, cwd=ROOT)

    assert ran.returncode == 0, ran.stderr
    question, *values = ran.stdout.splitlines()
    assert question.startswith(f"{name}: ")
    assert question.endswith("?")
    numbers = [
        float(re.search(r"  +(\S+)[^(]*(\(|$)", value.strip())[1].replace(",", ""))
        for value in values
    ]
    assert len(numbers) >= 3
    assert all(map(math.isfinite, numbers))
    assert page.PAGE.read_bytes() == before
