"""One file for each management command, named like the command.

They print for operators and know nothing of HTTP. Start at `gateway_account.py`.
"""
