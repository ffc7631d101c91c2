"""Changes of admins wait for a second admin, where the organisation switched that on.

Commands are decorated with `registry.second_admin`: instead of running, one that has to
wait raises SecondAdminNeeded. The middleware of the pages then asks for a reason
(`people.directory.safeguard_views`), `ask_second_admin` stores the change, and
`accept` calls the same command again, as the person who asked. Commands that can only
tighten stand in `tightening.py`. Start reading at `registry.py`.
"""
