"""MCP over HTTP at `/mcp`: the 50 tools of MultiMail's MCP server, by the official
package, for the agent whose API key the request has.

`catalog.py` is the table of tools, `caller.py` asks the API, `server.py` answers by the
protocol, `endpoint.py` serves it. Each tool is a request to the API under the caller's
key: nothing is allowed or refused here that is not there.
"""
