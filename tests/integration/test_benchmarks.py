"""Every benchmark still runs. Whether its goal holds is asked on a quiet machine, by `./run bench`."""

import json
import math
import os
import subprocess
import sys

import pytest

from benchmarks.__main__ import names
from launcher.paths import ROOT
from launcher.postgres import APPLICATION, DATABASE, OWNER
from launcher.quality import find_chromium

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One data folder for all of them, with the static files."""
    folder = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity=0"]
    subprocess.run(command, env={**os.environ, "DATA_DIR": str(folder)}, cwd=ROOT, check=True)
    return folder


@pytest.mark.parametrize("name", names())
def test_benchmark_at_a_tiny_size_reports_figures_and_a_ratio(name, folder):
    if name == "desk_keys" and find_chromium() is None:
        pytest.skip("no Chromium: install chromium-headless-shell")
    database = {"DATABASE_URL": os.environ["DATABASE_URL"].replace(OWNER, APPLICATION), "BENCH_TEMPLATE": DATABASE}
    command = [sys.executable, "-m", "benchmarks", "--smoke", name]
    environment = {**os.environ, **database, "DATA_DIR": str(folder)}
    ran = subprocess.run(command, env=environment, cwd=ROOT, check=False, timeout=300)

    assert ran.returncode == 0
    found = json.loads((folder / "bench" / f"{name}.json").read_text())
    assert found["question"].endswith("?")
    assert found["figures"]
    values = [one["value"] for one in (*found["figures"], found["control"], *found["needs"])]
    assert [value for value in (*values, found["ratio"]) if not math.isfinite(value)] == []
