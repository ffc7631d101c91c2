"""Changes that loosen policy wait for a second admin, where the organisation switched that on.

A command that loosens calls `wants_second_admin` after its own checks, and raises SecondAdminNeeded instead of going
on. The middleware of the pages then asks for a reason (`people.directory.second_admin_views`), `ask_second_admin`
stores the change, and `accept` runs the same command again, as the person who asked. Start reading at `asking.py`.
"""
