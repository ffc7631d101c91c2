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
from benchmarks.result import Figure, Goal, Result
from launcher.paths import ROOT
from launcher.postgres import APPLICATION, DATABASE, OWNER
from launcher.quality import find_chromium


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


@pytest.mark.slow
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
    ran = subprocess.run(
        command,
        env=environment,
        cwd=ROOT,
        check=False,
        timeout=300,
        capture_output=True,
        text=True,
    )

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


@pytest.fixture
def own_page(tmp_path, monkeypatch):
    """A copy of the page, as of this machine."""
    monkeypatch.setattr(page, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(page, "machine", lambda: "here")
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    page.PAGE.write_text(re.sub(r"^Machine: .*$", "Machine: here.", text, flags=re.M))
    return page.PAGE


FOUND = Result(
    question="How long?",
    figures=(Figure("a page", 12.0, "ms"),),
    control=Figure("a view", 2.0, "ms"),
    goals=(Goal("ratio", 9.0, 8.0), Goal("statements", 9, 8)),
)


def test_page_after_one_benchmark_differs_only_in_its_row_and_figures(own_page):
    before = own_page.read_text().splitlines()
    assert page.write("decide", FOUND, of_all=False)
    changed = [line for line in own_page.read_text().splitlines() if line not in before]
    assert changed[0].startswith(
        "| `decide` | How long? | a page: 12 ms | a view: 2 ms | 9.00 | at most 8 | missed: "
    )
    assert [line.split()[0] for line in changed] == [
        "|",
        "decide:",
        "a",
        "a",
        "ratio",
        "statements",
    ]
    assert own_page.read_text().count("\n") <= len(before)


def test_figures_of_another_machine_stay_until_all_are_measured_anew(
    own_page, monkeypatch
):
    before = own_page.read_text()
    monkeypatch.setattr(page, "machine", lambda: "there")
    assert not page.write("decide", FOUND, of_all=False)
    assert own_page.read_text() == before

    assert page.write("decide", FOUND, of_all=True)
    assert page.write("pages", FOUND, of_all=True)
    text = own_page.read_text()
    assert "Machine: there." in text
    assert re.findall(r"^\| `(\w+)`", text, re.M) == ["decide", "pages"]
    assert re.findall(r"^(\w+): How long\?", text, re.M) == ["decide", "pages"]
