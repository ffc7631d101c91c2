"""The gateway's management commands for operators, run with `./run manage`.

They call the same functions as the API, and have no rules of their own. Start in
`commands/`.
"""
