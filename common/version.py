"""The version of the product, which stands in pyproject.toml."""

import tomllib

from django.conf import settings


def product_version() -> str:
    """Return the product's version from pyproject.toml."""
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())
    return str(project["project"]["version"])
