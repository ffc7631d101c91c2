"""The audit trail of one message as one HTML file that checks itself in a browser, without network or desk.

What it shows of entries, its script builds from what it has verified. The answers in sentences were made here; the
script holds their hash, and the file's own policy the hash of the script: whoever edits a character of either is found.
"""

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from audit.actions import ACTIONS
from audit.trail.answers import SealCoverage, answers_of
from audit.trail.proof import Proof

# Within a script's element nothing may end it, or begin a comment.
_ESCAPED = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_BLOCK = re.compile(r"\{\{ (\w+) \}\}")


def proof_page(proof: Proof) -> str:
    """Return the file."""
    words, style, script = _as_json(_words(proof)), _read("static/css/proof.css"), _read("static/js/proof.js")
    for name, text in (("HASH_OF_WORDS", words), ("HASH_OF_STYLE", style)):
        script = script.replace(name, hashlib.sha256(text.encode()).hexdigest())
    policy = (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; base-uri 'none'; "
        "form-action 'none'"
    )
    # Each is ours, or escaped for where it stands; in one pass, so that no data can name a block for other data.
    blocks = {"policy": policy, "proof": _as_json(proof.data), "words": words, "script": script, "style": style}
    return _BLOCK.sub(lambda block: blocks[block[1]], _read("audit/trail/proof_page.html"))


def _words(proof: Proof) -> dict[str, Any]:
    """Return what the script cannot work out from the entries: names of actions, and the answers."""
    # The entries of which the file has the details.
    detailed = [line.entry.pk for line, one in zip(proof.lines, proof.data["entries"], strict=True) if one["fields"]]
    coverage = SealCoverage(len(proof.lines), len(proof.lines) + len(proof.not_sealed), proof.seal)
    answers = answers_of(proof.lines, coverage) if detailed else ()
    return {
        "actions": {name: ACTIONS.get(name, name) for name in sorted({line.entry.action for line in proof.lines})},
        "answers": [
            {
                "question": answer.question,
                "sentences": [{"text": one.plain, "standing": one.evidence} for one in answer.sentences],
            }
            for answer in answers
        ],
        "not_sealed": list(proof.not_sealed),
        "made_at": proof.data["made_at"],
        "told": detailed,
    }


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPED)


def _source(text: str) -> str:
    """Return how a policy names the one script, or the one style, that it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _read(name: str) -> str:
    return (Path(settings.BASE_DIR) / name).read_text(encoding="utf-8")
