"""Makes a message with a miss as small as it gets, by leaving out parts of it while the
miss stays.
"""

import re
from dataclasses import replace

# Also less than a tag: an attribute, a declaration, a sign. Browsers read what is left
# all the same.
_PART = re.compile(
    r"[HMN]{6}|</?[a-z][^\s>]*|\s+[\w-]+=?|[\w-]+\s*:[^;'\"{}]*;?|[^<\sHMN]|\s+|.",
    re.DOTALL | re.IGNORECASE,
)


def shrink(judge, letter, kind):
    """Return the smallest letter found that has a miss of this kind: first halves are
    left out, then single parts.
    """
    parts = _PART.findall(letter.html)
    size = len(parts) // 2
    while size:
        smaller = [parts[:at] + parts[at + size :] for at in range(0, len(parts), size)]
        judged = judge.judge(replace(letter, html="".join(one)) for one in smaller)
        kept = [
            one
            for one, found in zip(smaller, judged, strict=True)
            if kind in {miss.kind for miss in found.misses}
        ]
        parts = min(kept, key=len, default=parts)
        size = min(size, len(parts)) if kept else size // 2
    return replace(letter, html="".join(parts))
