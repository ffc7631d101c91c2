"""Every benchmark still runs. Whether its goal holds is asked on a quiet machine, by `./run bench`."""

import json
import math
import os
import subprocess
import sys

import pytest

from benchmarks import document
from benchmarks.__main__ import names, write_page
from benchmarks.result import Figure, Need, Result
from launcher.paths import ROOT
from launcher.postgres import APPLICATION, DATABASE, OWNER
from launcher.quality import find_chromium

FOUND = Result(
    question="How long?",
    figures=(Figure("a page", 12.0, "ms"),),
    control=Figure("a view", 2.0, "ms"),
    ratio=6.0,
    goal=8.0,
    runs=1,
    at_most=True,
    needs=(Need("statements", 9, 8, at_most=True),),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One data folder for all of them, with the static files."""
    folder = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity=0"]
    subprocess.run(command, env={**os.environ, "DATA_DIR": str(folder)}, cwd=ROOT, check=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_benchmark_at_a_tiny_size_reports_figures_and_a_ratio(name, folder):
    if name == "desk_keys" and find_chromium() is None:
        pytest.skip("no Chromium: install chromium-headless-shell")
    database = {"DATABASE_URL": os.environ["DATABASE_URL"].replace(OWNER, APPLICATION), "BENCH_TEMPLATE": DATABASE}
    command = [sys.executable, "-m", "benchmarks", "--smoke", name]
    environment = {**os.environ, **database, "DATA_DIR": str(folder)}
    page = document.PAGE.read_bytes()
    ran = subprocess.run(command, env=environment, cwd=ROOT, check=False, timeout=300)

    assert ran.returncode == 0
    found = json.loads((folder / "bench" / "partial" / f"{name}.json").read_text())
    assert found["question"].endswith("?")
    assert found["figures"]
    values = [one["value"] for one in (*found["figures"], found["control"], *found["needs"])]
    assert [value for value in (*values, found["ratio"]) if not math.isfinite(value)] == []
    assert document.PAGE.read_bytes() == page


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A data folder with the figures of all benchmarks, and a page of its own; returns what keeps one more."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setattr(document, "PAGE", tmp_path / "benchmarks.md")

    def keep(name, ratio):
        document.keep(name, Result(**{**vars(FOUND), "ratio": ratio}))

    for name in names():
        keep(name, 6.0)
    return keep


def test_page_after_one_benchmark_differs_only_in_its_row_and_figures(kept):
    write_page(is_whole=True)
    before = document.PAGE.read_text().splitlines()
    kept("decide", 9.0)
    write_page(is_whole=False)

    changed = [line for line in document.PAGE.read_text().splitlines() if line not in before]
    assert [line[:10] for line in changed] == ["| `decide`", "  ratio   "]
    assert "| 9.00 | at most 8.00 | missed |" in changed[0]
    assert any("| 6.00 | at most 8.00 | missed: statements |" in line for line in before)


def test_page_is_left_alone_where_other_benchmarks_have_no_figures(kept, capsys):
    (document.kept_in() / "alerts.json").unlink()
    write_page(is_whole=False)

    assert not document.PAGE.exists()
    assert "alerts" in capsys.readouterr().out
    write_page(is_whole=True)
    assert "| `alerts` | no figures |" in document.PAGE.read_text()
    assert "no figures" in document.for_terminal(names()).splitlines()[1]
