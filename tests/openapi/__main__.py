"""Prints the list of another document, of the operations that the stored list has."""

import json
import sys
from pathlib import Path

from tests.openapi import listed, stored

document = json.loads(Path(sys.argv[1]).read_text())
operations = listed(document)
kept = {name: operations[name] for name in stored()["operations"] if name in operations}
about = {
    "title": document["info"]["title"],
    "version": document["info"]["version"],
    "read_from": sys.argv[1],
}
print(json.dumps({**about, "not_had": [], "operations": kept}, indent=1))
