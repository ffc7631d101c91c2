"""Changes of admins that wait for a second admin, if the organisation switched that on.

Commands are decorated with `registry.second_admin`. A command that has to wait raises
SecondAdminNeeded instead of running. A middleware (`people.directory.safeguard_views`)
then shows a page that asks for a reason, `ask_second_admin` stores the change, and
`accept` calls the same command again, as the person who asked. `tightening.py` lists
the commands that never wait. Start reading at `registry.py`.
"""
