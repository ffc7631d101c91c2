"""Remote pictures of one message, fetched once by the desk when somebody asks for them.

`commands.py` stores what is to be fetched, `fetch.py` fetches it in a worker,
`outcomes.py` says what became of each.
"""
