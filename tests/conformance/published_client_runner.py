"""Runs the tools of the published package `langchain-multimail`, unchanged, against the
gateway whose address is the argument.

Each line of standard input is JSON with `key`, `tool` and `arguments`; each line of
output is what the tool returned, or the error that it raised.
"""

import json
import os
import sys

# The package prints too: its output goes to stderr, so that stdout has only answers.
answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

from langchain_multimail import MultiMailToolkit  # noqa: E402

for line in sys.stdin:
    asked = json.loads(line)
    found = MultiMailToolkit(asked["key"], base_url=sys.argv[1]).get_tools()
    tools = {tool.name: tool for tool in found}
    try:
        answer = {"text": tools[asked["tool"]].invoke(asked["arguments"])}
    except Exception as error:  # noqa: BLE001 - the test reads it
        answer = {"text": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer | {"tools": sorted(tools)}), file=answers, flush=True)
