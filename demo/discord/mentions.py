"""Who a message would ping. Pure. Only the content can ping; Discord never pings from an embed."""

import re
from collections.abc import Mapping
from typing import Any

_CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
_EVERYONE = re.compile(r"@(everyone|here)\b")
_PERSON = re.compile(r"<@!?(\d+)>")
_ROLE = re.compile(r"<@&(\d+)>")


def count_pings(content: str, allowed: Mapping[str, Any] | None) -> int:
    """Return how many people, roles and "everyone" the content pings under its `allowed_mentions`."""
    text = _CODE.sub("", content)
    return (
        len(_allowed("everyone", set(_EVERYONE.findall(text)), allowed))
        + len(_allowed("users", set(_PERSON.findall(text)), allowed))
        + len(_allowed("roles", set(_ROLE.findall(text)), allowed))
    )


def _allowed(kind: str, found: set[str], allowed: Mapping[str, Any] | None) -> set[str]:
    if allowed is None or kind in (allowed.get("parse") or []):
        return found
    return found & {str(name) for name in allowed.get(kind) or []} if kind != "everyone" else set()
