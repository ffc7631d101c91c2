"""The files in deploy/monitoring: promtool accepts them, what they name is exposed and
documented, and what they advise exists.
"""

import json
import os
import re
import shutil

import pytest
import yaml
from django.core.management import get_commands
from django.urls import resolve
from prometheus_client.parser import text_string_to_metric_families

from dashboard.health.views import exposition
from dashboard.models import Tick
from launcher.bootstrap import install_debian_packages
from launcher.paths import ROOT
from tests.commands import run_command
from tests.factories import make_connection

FILES = ROOT / "deploy" / "monitoring"
RULES = FILES / "countersign.rules.yml"
DASHBOARD = json.loads((FILES / "grafana.json").read_text())


def promtool(*arguments, folder=FILES):
    """Run promtool; return the completed process."""
    if not shutil.which("promtool") and (
        os.geteuid() != 0 or not install_debian_packages(["prometheus"])
    ):
        pytest.skip("promtool is missing: apt install prometheus")
    return run_command(["promtool", *arguments], cwd=folder)


def rules():
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return group["rules"]


def panel_queries():
    return [
        target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", RULES.name),
        ("test", "rules", "rules_test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_promtool_accepts_the_files(arguments):
    ran = promtool(*arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_reads_every_query_of_the_dashboard(tmp_path):
    written = [
        {"record": f"query_{number}", "expr": query.replace("$job", "countersign")}
        for number, query in enumerate(panel_queries())
    ]
    assert len(written) > 20
    file = {"groups": [{"name": "queries", "rules": written}]}
    (tmp_path / "queries.yml").write_text(yaml.safe_dump(file))
    ran = promtool("check", "rules", "queries.yml", folder=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_is_tested_and_has_a_summary_and_what_to_do():
    tested = (FILES / "rules_test.yml").read_text()
    for rule in rules():
        assert f'alertname="{rule["alert"]}"' in tested
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}
        description = rule["annotations"]["description"]
        pages = re.findall(r"(?<![\w.])/[a-z/-]+/(?![\w/])", description)
        commands = re.findall(r"`\./run manage (\w+)`", description)
        documents = re.findall(r"(?:docs|deploy)/[\w/.-]+\.\w+", description)
        assert pages or commands or documents, rule["alert"]
        for page in pages:
            resolve(page)
        assert set(commands) <= set(get_commands())
        assert all((ROOT / name).exists() for name in documents)


def exposed():
    """Return the labels of each metric that the desk exposes."""
    make_connection()
    Tick.objects.create(job="approvals.tasks.sweep", period=1)
    labels = {}
    for family in text_string_to_metric_families(exposition()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def test_every_metric_of_rules_and_dashboard_is_exposed_with_its_labels(db):
    labels = exposed()
    queries = panel_queries() + [rule["expr"] for rule in rules()]
    for query in queries:
        names = re.findall(r"countersign_\w+(?=[^\w\"])", f"{query} ")
        assert set(names) <= labels.keys(), query
        own = {label for name in names for label in labels[name]}
        used = re.findall(r"(\w+)=~?\"", query)
        used += re.findall(r"by \(([^)]*)\)", query)
        wanted = {label.strip() for part in used for label in part.split(",")}
        assert wanted - {"job"} <= own, query


def test_every_exposed_metric_is_documented_and_every_documented_one_is_exposed(db):
    page = (ROOT / "docs/operators/monitoring.md").read_text()
    table = page.partition("| name | value |")[2].partition("\n\n")[0]
    names = "".join(line.split("|")[1] for line in table.splitlines() if line)
    documented = {}
    for name, labels in re.findall(r"`(\w+)(?:\{([\w,]+)\})?`", names):
        documented[f"countersign_{name}"] = set(filter(None, labels.split(",")))
    assert documented == exposed()
