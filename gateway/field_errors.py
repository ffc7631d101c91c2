"""Says in a sentence what is wrong with a field, in place of what the validation library would say to a programmer."""

from typing import Any

_PLAIN = {
    "missing": "is missing.",
    "bool_type": "must be true or false.",
    "bool_parsing": "must be true or false.",
    "string_type": "must be text.",
    "dict_type": "must be an object.",
    "list_type": "must be a list.",
    "model_type": "must be an object.",
    "model_attributes_type": "must be an object.",
    "int_type": "must be a whole number.",
    "int_parsing": "must be a whole number.",
    "int_parsing_size": "must be a smaller number.",
    "int_from_float": "must be a whole number.",
    "string_pattern_mismatch": "has not the form that it must have: {pattern}",
    "enum": "must be one of {expected}.",
    "literal_error": "must be one of {expected}.",
    "greater_than_equal": "must be at least {ge}.",
    "less_than_equal": "must be at most {le}.",
    "string_too_long": "at most {max_length} {unit}.",
    "string_too_short": "at least {min_length} {unit}.",
    "too_long": "at most {max_length} {unit}.",
    "too_short": "at least {min_length} {unit}.",
}


def sentence_of(error: dict[str, Any]) -> str:
    """Return what is wrong, without the field's name; for our own rules that is what they say themselves."""
    plain = _PLAIN.get(error["type"])
    if plain is None:
        return str(error["msg"]).removeprefix("Value error, ")
    facts = dict(error.get("ctx", {}))
    unit = "item" if facts.get("field_type") in ("List", "Set", "Dictionary") else "character"
    facts["unit"] = unit if 1 in (facts.get("min_length"), facts.get("max_length")) else f"{unit}s"
    # "'a', 'b' or 'c'" reads better without its signs.
    facts["expected"] = str(facts.get("expected", "")).replace("'", "")
    return plain.format(**facts)
