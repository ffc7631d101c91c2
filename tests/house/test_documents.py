"""Links and citations of the documentation lead somewhere: in the pages, and from the
code to the pages.
"""

import re
from pathlib import Path

from launcher.paths import ROOT
from tests.commands import run_command

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
# Sections are cited by their headings, after the page and a comma.
CITED = re.compile(r"docs/(?:[\w-]+/)*[\w-]+\.md")
SECTION = re.compile(r"docs/(multimail|architecture)\.md, (?=[A-Z])")
# What pages name of the code: a path, or a module with the names in it.
FOLDERS = "|".join(
    path.name
    for path in ROOT.iterdir()
    if path.is_dir() and not path.name.startswith(".")
)
IN_CODE = re.compile(rf"`((?:{FOLDERS})[./][\w./-]+)`")
# A folder that the page asks to make, a file of logs, and actions of the ledger.
NOT_CODE = re.compile(
    r"alerts/channels/relay/|gateway\.log|var/|policy\.\w+ed|policy\.draft_begun"
)
OUTSIDE = re.compile(
    r"[Cc]ontract section|fault-matrix|design\.md|review-desk\.md|vocabulary\.md|house-style"
)


def headings(page):
    return re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), re.M
    )


def anchors(page):
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings(page)
    }


def sources():
    tracked = run_command(["git", "ls-files"], cwd=ROOT, check=True).stdout.split()
    paths = [
        ROOT / name
        for name in tracked
        if name.endswith((".py", ".html", ".js", ".toml", "run"))
    ]
    return [
        (path, path.read_text())
        for path in paths
        if path.is_file() and path != Path(__file__)
    ]


def test_links_between_pages_lead_to_a_heading():
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
            other = page.parent / target if target else page
            assert anchor in anchors(other), f"{page.name}: {target}#{anchor}"


def test_every_page_is_in_the_index_of_its_folder():
    for index in (
        ROOT / "docs" / "README.md",
        ROOT / "docs" / "operators" / "README.md",
    ):
        listed = re.findall(r"\]\(([^)#:]+)\)", index.read_text())
        missing = [
            page.name
            for page in index.parent.glob("*.md")
            if page != index and page.name not in listed
        ]
        assert missing == [], index.relative_to(ROOT)


def exists(named):
    """Whether a path or a dotted name, as a page has it, is in the tree."""
    if (
        (ROOT / named).exists()
        or (ROOT / f"{named}.py").exists()
        or (ROOT / named.replace(".", "/")).is_dir()
    ):
        return True
    parts = named.split(".")
    for end in range(len(parts), 0, -1):
        module = ROOT.joinpath(*parts[:end]).with_suffix(".py")
        if module.exists():
            return (
                end == len(parts)
                or re.search(rf"\b{parts[end]}\b", module.read_text()) is not None
            )
    return False


def test_modules_and_files_that_pages_name_exist():
    for page in PAGES:
        if "adr" not in page.parts:
            named = [
                name
                for name in IN_CODE.findall(page.read_text())
                if not NOT_CODE.match(name)
            ]
            assert [name for name in named if not exists(name)] == [], page.relative_to(
                ROOT
            )


def test_pages_that_the_code_cites_exist():
    for path, text in sources():
        missing = [
            cited for cited in CITED.findall(text) if not (ROOT / cited).exists()
        ]
        assert missing == [], path.relative_to(ROOT)


def test_sections_that_the_code_cites_are_headings():
    for path, text in sources():
        for found in SECTION.finditer(text):
            known = headings(ROOT / "docs" / f"{found[1]}.md")
            # A comment may go on in its next line.
            rest = " ".join(re.sub(r"\n\s*# ?", " ", text[found.end() :]).split())
            assert any(rest.startswith(heading) for heading in known), (
                f"{path.relative_to(ROOT)}: {rest[:60]}"
            )


def test_code_cites_no_document_from_outside_the_repository():
    assert [
        path.relative_to(ROOT) for path, text in sources() if OUTSIDE.search(text)
    ] == []


def test_each_kind_of_what_an_operator_mends_is_explained():
    code = (ROOT / "dashboard" / "health" / "checks.py").read_text()
    kinds = set(re.findall(r"""\bitem\(\s*"(\w+)",""", code))
    assert {"database", "redis", "guards"} < kinds
    page = (ROOT / "docs" / "operators" / "troubleshooting.md").read_text()
    assert kinds - set(re.findall(r"`(\w+)`", page)) - {"fact"} == set()
