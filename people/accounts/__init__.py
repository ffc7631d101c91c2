"""A person's own account: name, time zone, password, second factors, sessions,
shortcuts, chat accounts.

Everything here changes a person's own account; what admins change is in
`people.directory`. Start reading at `views.py`.
"""
