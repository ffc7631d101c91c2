"""Requests to the product, which runs on the same machine."""

from typing import Any

import requests


def request(method: str, url: str, **options: Any) -> requests.Response:
    """Make one request, which follows no redirect and ignores proxy settings."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, allow_redirects=False, **options)
