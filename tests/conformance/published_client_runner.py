"""Runs the tools of a published package, unchanged: argv is the package's module and
the gateway's address.

Each line of standard input is JSON with `key`, `tool` and `arguments`; each line of
output is what the tool returned, or the error that it raised.
"""

import importlib
import json
import os
import sys

module, address = sys.argv[1:]
# What the package itself prints must not end up among the answers.
answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
package = importlib.import_module(module)


def tools_of(key):
    """Return the package's tools as functions, by name."""
    if module == "llamaindex_multimail":
        tools = package.MultiMailToolSpec(key, base_url=address).to_tool_list()
        return {
            tool.metadata.name: lambda tool=tool, **fields: (
                tool.call(**fields).raw_output
            )
            for tool in tools
        }
    tools = package.MultiMailToolkit(key, base_url=address).get_tools()
    if module == "langchain_multimail":
        return {
            tool.name: lambda tool=tool, **fields: tool.invoke(fields) for tool in tools
        }
    return {tool.name: lambda tool=tool, **fields: tool.run(**fields) for tool in tools}


for line in sys.stdin:
    asked = json.loads(line)
    tools = tools_of(asked["key"])
    try:
        answer = {"text": tools[asked["tool"]](**asked["arguments"])}
    except Exception as error:  # noqa: BLE001 - the test reads it
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer | {"tools": sorted(tools)}), file=answers, flush=True)
