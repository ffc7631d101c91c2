"""Rules of the house that a machine can hold: docstrings, templates, documentation, one
caller of decide_email.
"""

import ast
import re
from functools import cache

import pytest

from launcher.paths import ROOT
from tests.commands import run_command

# In one process, which parses each source once.
pytestmark = pytest.mark.xdist_group("sources")

APPS = """
    launcher dashboard alerts connections notices approvals policy mirror people audit risk
    rendering simple_form parsing upstream outgoing common gateway demo
""".split()
SOURCES = [
    path
    for app in APPS
    for path in (ROOT / app).rglob("*.py")
    if "migrations" not in path.parts
]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
WEB_SOURCES = sorted(
    path
    for folder in ("templates", "static", "demo", "audit", "tests")
    for path in (ROOT / folder).rglob("*.*")
    if path.suffix in {".html", ".css", ".js"} and "corpus" not in path.parts
)
MAX_COLUMNS = 120


def relative(path):
    return str(path.relative_to(ROOT))


@cache
def parsed(path):
    """Return the syntax tree of a source."""
    return ast.parse(path.read_text())


def test_modules_open_with_their_job():
    silent = [
        relative(path)
        for path in SOURCES
        if parsed(path).body and not ast.get_docstring(parsed(path))
    ]
    assert silent == [], "no docstring: say the module's job in a sentence"


def test_no_line_of_templates_style_sheets_and_scripts_is_longer_than_of_python():
    found = [
        f"{relative(path)}:{number}"
        for path in WEB_SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > MAX_COLUMNS
    ]
    assert found == []


FORBIDDEN_IN_TEMPLATES = {
    "inline script": r"<script(?![^>]*\bsrc=)",
    "inline style": r"<style|\sstyle=",
    "inline handler": r"\son(?:click|load|error|change|submit|input|focus|blur|key\w+|mouse\w+|pointer\w+)=|hx-on",
    "evaluated value": r"js:|javascript:",
    "trigger filter": r'hx-trigger="[^"]*\[',
    "quadratic filter": r"\|truncate",
    "unescaped output": r"\|\s*safe\b|autoescape off",
    "asset from elsewhere": r"""(?:src|href)=["'](?:https?:)?//""",
}


def test_templates_hold_nothing_that_the_policy_forbids():
    found = [
        f"{relative(template)}: {rule}"
        for template in TEMPLATES
        for rule, pattern in FORBIDDEN_IN_TEMPLATES.items()
        if re.search(pattern, template.read_text())
        # Mail has no style sheet.
        if (template.stem[-4:], rule) != ("mail", "inline style")
    ]
    assert found == []


def test_nothing_is_declared_to_be_safe():
    assert [relative(path) for path in SOURCES if "mark_safe" in path.read_text()] == []


def test_stylesheets_load_nothing_from_elsewhere():
    sheets = "".join(path.read_text() for path in (ROOT / "static").rglob("*.css"))
    assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", sheets)


def test_execute_is_the_only_caller_of_decide_email():
    callers = {
        relative(path)
        for path in SOURCES
        if re.search(r"\.decide_email\(", path.read_text())
        and "gateway" not in path.parts
    }
    assert callers == {"approvals/decisions/execute.py"}


def test_decision_state_is_written_in_one_module():
    pattern = re.compile(r"\bupdate(?:_of)?\([^)]*\bstate=|decision\.state\s*=[^=]")
    found = {
        relative(path)
        for path in (ROOT / "approvals").rglob("*.py")
        if pattern.search(path.read_text())
    }
    assert found == {"approvals/decisions/settle.py"}


def environment_read():
    read = re.compile(
        r'env_(?:str|bool|int|choice|dsn|list|url|mail_url|origin|secret|server)\(\s*"([A-Z_0-9]+)"'
    )
    return set(read.findall((ROOT / "dashboard" / "settings.py").read_text()))


def test_every_variable_is_documented_and_every_documented_one_is_read():
    table = (ROOT / "docs" / "operators" / "configure.md").read_text()
    documented = set(
        re.findall(
            r"`([A-Z][A-Z_0-9]+)`",
            "".join(
                line.split("|")[1]
                for line in table.splitlines()
                if line.startswith("| `")
            ),
        )
    )
    assert environment_read() - documented == set()
    # Read where Django's settings are not used.
    elsewhere = {"DATABASE_OWNER_URL", "LISTEN_HOST", "LOG_TO"}
    assert documented - environment_read() == elsewhere


def test_no_secret_and_no_path_of_a_machine_is_in_the_repository():
    tracked = run_command(["git", "ls-files"], cwd=ROOT, check=True).stdout.split()
    pattern = re.compile(
        r"/(?:root|home)/\w+|-----BEGIN (?:RSA |EC )?PRIVATE KEY-----\n\w|AKIA(?!IOSFODNN7EXAMPLE)[A-Z0-9]{16}"
    )
    for name in tracked:
        path = ROOT / name
        if (
            path.suffix
            in {".py", ".md", ".html", ".js", ".css", ".toml", ".txt", ".in", ""}
            and path.is_file()
        ):
            found = pattern.search(path.read_text(errors="ignore"))
            assert not found, f"{name}: {found}"
