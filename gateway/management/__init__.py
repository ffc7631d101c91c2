"""The gateway's commands for operators, run with `./run manage`.

They call the same commands as the API and hold no rules of their own. Start in
`commands/`.
"""
