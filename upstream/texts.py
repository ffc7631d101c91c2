"""Makes what MultiMail sends storable: PostgreSQL keeps neither U+0000 nor half a surrogate pair nor infinities."""

import math
import re
from typing import Any

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(value: Any) -> Any:
    """Return parsed JSON with the replacement character for what cannot be stored, and null for numbers without end."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    return value
