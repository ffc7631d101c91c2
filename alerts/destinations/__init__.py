"""What admins set about alerts: destinations, their routes and their secrets. Has the
commands that change them, the forms, and their descriptions in words.

No file here knows a kind of destination except through alerts.channels, or anything of
HTTP requests. Start reading at commands.py.
"""
