"""Uses the tools of a table, whose rows have: a tool, whose key it is called with, its
arguments ($ stands before what is known from earlier answers), and what the answer has:
`is` a value, or `as` the name by which it is known from then on (`all` is the whole
answer); or `refused`, with words of the sentence.
"""

import functools
import json
import re
from string import Template

from simple_form.data import rows


def use_tools(table, known, use):
    """Call `use` with each tool, key and arguments; it returns the answer, and whether
    it is a refusal. Return the names of the tools.
    """
    used = set()
    for tool, by, arguments, *wanted in rows(table):
        used.add(tool)
        said, is_refused = use(
            tool, by, json.loads(Template(arguments).substitute(known))
        )
        assert is_refused is any(one.startswith("refused") for one in wanted), said
        for one in wanted:
            path, _, value = re.split(" (is|as) |(?<=^refused) ?", one, maxsplit=1)
            if path == "refused":
                assert value in said["error"], tool
                continue
            steps = [int(step) if step.isdigit() else step for step in path.split(".")]
            if path == "all":
                steps = []
            found = functools.reduce(lambda part, step: part[step], steps, said)
            if " as " in one:
                known[value] = found
            else:
                assert str(found) == Template(value).substitute(known), (tool, one)
    return used
