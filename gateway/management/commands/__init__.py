"""One file a command, named as it is run.

They print for operators and know nothing of HTTP. Start at `gateway_account.py`.
"""
