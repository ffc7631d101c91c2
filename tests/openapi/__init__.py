"""What MultiMail's OpenAPI document lists of the operations that the desk calls:
`multimail.json`, by name alone.

The list of a newer document, which `tests/unit/test_openapi_list.py` then compares with
what the desk relies on:

    .venv/bin/python -m tests.openapi NEWER.json > tests/openapi/multimail.json
"""

import json
import re
from pathlib import Path

LIST = Path(__file__).parent / "multimail.json"


def stored():
    """Return the stored list: each operation with its parameters, fields of the body
    and the answer, and enums.
    """
    return dict(json.loads(LIST.read_text()))


def listed(document):
    """Return the operations of a document in the form of the list."""
    return {
        f"{method.upper()} {re.sub('{[^}]*}', '{}', path)}": _operation(
            document, operation
        )
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in ("get", "post", "put", "patch", "delete")
    }


def _operation(document, operation):
    enums = {}
    asked = [one for one in operation.get("parameters", []) if one["in"] == "query"]
    for one in asked:
        if "enum" in one["schema"]:
            enums[one["name"]] = _words(one["schema"]["enum"])
    done = [
        answer
        for status, answer in operation.get("responses", {}).items()
        if status.startswith("2")
    ]
    found = {
        "parameters": _words(one["name"] for one in asked),
        "body": _words(_names(document, [operation.get("requestBody", {})], enums)),
        "answer": _words(_names(document, done, enums)),
        "enums": enums,
    }
    return {name: value for name, value in found.items() if value}


def _names(document, parts, enums):
    for part in parts:
        schema = part.get("content", {}).get("application/json", {}).get("schema", {})
        yield from _properties(document, schema, "", enums)


def _properties(document, schema, inside, enums):
    schema = _resolved(document, schema)
    for name, inner in schema.get("properties", {}).items():
        inner = _resolved(document, inner)
        yield inside + name
        items = _resolved(document, inner.get("items", {}))
        if values := inner.get("enum") or items.get("enum"):
            enums[inside + name] = _words(values)
        yield from _properties(document, items or inner, f"{inside}{name}.", enums)


def _resolved(document, schema):
    return (
        document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if "$ref" in schema
        else schema
    )


def _words(texts):
    return " ".join(sorted(map(str, texts)))
