"""The readable page of a proof: one HTML file for people, without any script. It proves
nothing by itself.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from audit.models import Entry
from audit.trail.answers import SealCoverage, answers_of
from audit.trail.proof import Proof
from audit.trail.sentences import in_utc


def readable_proof(proof: Proof) -> str:
    """Return the file."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    coverage = SealCoverage(
        len(proof.lines), len(proof.lines) + len(proof.not_sealed), proof.seal
    )
    context = {
        # The file loads nothing and runs nothing, also where a browser would.
        "policy": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        # Ours, from our own file.
        "style": SafeString(f"<style>{style}</style>"),
        "message": proof.data["message"],
        "made_at": proof.data["made_at"][:19].replace("T", " "),
        "file": f"countersign-{proof.data['message']}.json",
        "answers": answers_of(proof.lines, coverage) if proof.has_details else (),
        "rows": [
            (line, in_utc(line.at), _details(line) if proof.has_details else {})
            for line in proof.lines
        ],
        "has_details": proof.has_details,
        "not_sealed": proof.not_sealed,
        "seal": proof.seal,
    }
    return render_to_string("audit/readable_proof.html", context)


def _details(line: Entry) -> dict[str, str]:
    return {name: text for name, text in line.details.items() if name != "actor"}


@cache
def _style() -> str:
    return (Path(settings.BASE_DIR) / "static/css/proof.css").read_text(
        encoding="utf-8"
    )
