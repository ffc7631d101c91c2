"""A corpus of altered proofs and bundles: each alteration fails, or changes nothing
that the verifier prints.

Every field of every object is removed, doubled, set to null, to other types and values,
and to what the same field says elsewhere. Nothing is signed again.
"""

import copy
import functools
import itertools
import json
from functools import partial

import pytest

from audit.verifier import countersign_verify as verifier
from tests.bundles import MESSAGE, book

OTHER = MESSAGE[:-1] + "2"
# What is not the same as the value that it replaces, though some of it is equal to it
# in Python.
VALUES = (
    None,
    True,
    False,
    0,
    1,
    2,
    -1,
    1.0,
    2**63,
    "",
    "0",
    "x",
    "0" * 64,
    [],
    ["x"],
    {},
    {"x": "y"},
)


def _ledger():
    """A ledger with all that there is: keys, a restore, removed details, an outcome,
    and two messages.
    """
    made = book(3)
    made.write(message=MESSAGE, action="message.held", mac="ab" * 32)
    made.write(message=OTHER, action="message.held")
    made.seal()
    made.change_key()
    made.write(
        message=MESSAGE, action="message.approved", outcome="approve", connection=3
    )
    made.write(message=OTHER, action="message.rejected", outcome="reject", actor_id="8")
    made.details[1].update(salt=None, fields={})
    made.write(action="ledger.details_removed", fields={"numbers": "2"})
    made.restore()
    made.write(2, message=MESSAGE)
    made.seal()
    made.write(message=MESSAGE)
    return made


LEDGER = _ledger()


class Doubled:
    """A field that is there twice."""

    def __init__(self, value):
        self.value = value


def _dump(value):
    """Return canonical JSON, with doubled fields."""
    if isinstance(value, dict):
        pairs = []
        for name, one in sorted(value.items()):
            times = 2 if isinstance(one, Doubled) else 1
            pairs += [f"{json.dumps(name)}:{_dump(one)}"] * times
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dump, value)) + "]"
    return (
        _dump(value.value)
        if isinstance(value, Doubled)
        else json.dumps(value, ensure_ascii=False)
    )


def _paths(value, path=()):
    """Yield where each field and each place of a list is."""
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield (*path, name)
            yield from _paths(value[name], (*path, name))


def _at(value, path):
    return functools.reduce(lambda one, name: one[name], path, value)


def _with(value, path, change):
    """Return the JSON of a copy of which a change was given the container and the name
    of a field.
    """
    made = copy.deepcopy(value)
    change(_at(made, path[:-1]), path[-1])
    return _dump(made)


def _double(container, name):
    if isinstance(container, list):
        container.insert(name, container[name])
    else:
        container[name] = Doubled(container[name])


def mutations(value, others):
    """Yield each alteration of an object, as a name and what makes its JSON. `others`
    are the same kind of object.
    """
    for path in _paths(value):
        before = _at(value, path)
        where = "/".join(map(str, path))
        yield (
            f"{where} removed",
            partial(_with, value, path, lambda one, name: one.pop(name)),
        )
        yield f"{where} doubled", partial(_with, value, path, _double)
        instead = [*VALUES, *(_try(path, other) for other in others)]
        if isinstance(before, str) and before:
            instead += [
                before + "x",
                before[:-1],
                before.upper(),
                before[:-1] + ("1" if before[-1] == "0" else "0"),
            ]
        if type(before) is int:
            instead += [before + 1, before - 1, float(before), str(before)]
        for new in instead:
            if (type(new), new) != (type(before), before):
                change = partial(_set, new)
                yield f"{where} = {new!r}"[:200], partial(_with, value, path, change)


def _set(new, container, name):
    container[name] = new


def _try(path, value):
    try:
        return _at(value, path)
    except (KeyError, IndexError, TypeError):
        return None


def mutated_proofs():
    proof = LEDGER.proof()
    other = LEDGER.proof(OTHER)
    yield from mutations(proof, [other])
    # Fields within the text of an entry.
    others = [
        json.loads(one["entry"])
        for batch in other["batches"]
        for one in batch["entries"]
    ]
    for number, batch in enumerate(proof["batches"]):
        for place, one in enumerate(batch["entries"]):
            path = ("batches", number, "entries", place, "entry")
            for name, make in mutations(json.loads(one["entry"]), others):
                yield f"{name} in {path}", partial(_with_text, proof, path, make)


def _with_text(proof, path, make):
    return _with(proof, path, partial(_set, make()))


def mutated_bundles():
    """Yield each alteration: the file and what is altered, and what makes the content
    of that file.
    """
    for file, data in LEDGER.files().items():
        lines = data.decode().splitlines()
        end = "\n" if file.endswith(".jsonl") else ""
        for number, line in enumerate(lines):
            before = lines[:number]
            after = lines[number + 1 :]
            neighbours = [json.loads(one) for one in [*before[-1:], *after[:1]]]
            for name, make in mutations(json.loads(line), neighbours):
                yield (
                    f"{file} {number}: {name}",
                    partial(_joined, before, make, after, end),
                )
            if end:
                yield (
                    f"{file} {number}: removed",
                    partial(_joined, before[:-1], "\n".join(before[-1:]), after, end),
                )
                yield (
                    f"{file} {number}: doubled",
                    partial(_joined, [*before, line], line, after, end),
                )
            if end and after:
                yield (
                    f"{file} {number}: swapped",
                    partial(_joined, [*before, after[0]], line, after[1:], end),
                )


def _joined(before, line, after, end):
    lines = [*before, line if isinstance(line, str) else line(), *after]
    return "".join(one + end for one in lines if one)


def _is_smaller_proof(name):
    """Whether an alteration only leaves entries of a proof out: it says itself that
    there may be others.
    """
    where, _, how = name.partition(" ")
    return how == "removed" and where.split("/")[-2:-1] in (["batches"], ["entries"])


@pytest.fixture
def result_of(capsys, monkeypatch):
    """Run the command; return its exit code, and all that it prints of what it read."""
    monkeypatch.setattr(verifier, "is_signed", functools.cache(verifier.is_signed))

    def run(path):
        code = verifier.main([str(path)])
        return code, capsys.readouterr().out

    return run


def _believed(result_of, checked, file, mutations, every):
    """Return how many alterations there are, and those that hold though they change
    what is printed.
    """
    whole = file.read_text()
    expected = result_of(checked)
    assert expected[0] == 0
    altered = 0
    believed = []
    for altered, (name, make) in enumerate(mutations, start=1):
        if altered % every == 0 and not _is_smaller_proof(name):
            file.write_text(make())
            code, output = result_of(checked)
            if code not in (1, 2) and (code, output) != expected:
                believed.append(name)
    file.write_text(whole)
    return altered, believed


def _all_believed(result_of, tmp_path, every):
    """Return how many alterations of proofs and of bundles there are, and those that
    are believed.
    """
    folder = LEDGER.write_to(tmp_path / "bundle")
    proof = tmp_path / "proof.json"
    proof.write_text(json.dumps(LEDGER.proof()))
    proofs, believed = _believed(result_of, proof, proof, mutated_proofs(), every)
    bundles = 0
    for name, of_file in itertools.groupby(
        mutated_bundles(), lambda one: one[0].partition(" ")[0]
    ):
        altered, more = _believed(result_of, folder, folder / name, of_file, every)
        bundles += altered
        believed += more
    return proofs, bundles, believed


def test_sample_of_the_alterations_is_not_believed(result_of, tmp_path):
    # A prime, so that each kind of alteration is among them.
    proofs, bundles, believed = _all_believed(result_of, tmp_path, every=41)
    assert believed == []
    assert proofs > 3500
    assert bundles > 7000


@pytest.mark.slow
def test_no_alteration_is_believed(result_of, tmp_path):
    assert _all_believed(result_of, tmp_path, every=1)[2] == []
