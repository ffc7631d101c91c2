"""No lower app names an upper one in a string: import-linter sees imports only."""

import ast
import re
import tomllib

from tests.house.test_house_rules import (
    ROOT,
    parsed,
    pytestmark,  # noqa: F401
)

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"][
    "importlinter"
]["contracts"]
LAYERS = next(one["layers"] for one in CONTRACTS if one["name"] == "Imports point down")
HEIGHT = {
    app: -place for place, layer in enumerate(LAYERS) for app in layer.split(" | ")
}
DOTTED = re.compile(r"[a-z_]+(\.\w+)+")


def names_code(text):
    """Whether a dotted text is a module, something in one, or a model;
    `policy.activated` is an act of the ledger.
    """
    app, name, *_ = text.split(".")
    folder = ROOT / app
    return (
        name[0].isupper()
        or (folder / name).is_dir()
        or (folder / f"{name}.py").is_file()
    )


def named_in(node):
    """Return the app that a part of the code names in a string, if it does."""
    if (
        isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) == "get_model"
    ):
        return node.args[0].value.partition(".")[0]
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and DOTTED.fullmatch(node.value)
    ):
        app = node.value.partition(".")[0]
        return app if app in HEIGHT and names_code(node.value) else None
    return None


def upward_names(app, tree):
    """Return the lines of a module of `app` that name an app above it."""
    found = [
        (node.lineno, named_in(node))
        for node in ast.walk(tree)
        if hasattr(node, "lineno")
    ]
    return [line for line, named in found if named and HEIGHT[named] > HEIGHT[app]]


def test_strings_name_no_upper_app():
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for app in HEIGHT
        for path in (ROOT / app).rglob("*.py")
        if "migrations" not in path.parts
        for line in upward_names(app, parsed(path))
    ]
    assert found == []
