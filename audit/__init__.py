"""The ledger: an append-only record of who did what, sealed so that any change to it is
detected.

It knows nothing of messages, decisions or alerts: callers describe their acts to
`recording.record`. Start reading there. After that: `sealing` makes the entries
tamper-evident, `verification` and `verifier` check them, and `search`, `trail` and
`exports` show them to people.
"""
