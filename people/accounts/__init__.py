"""A person's own account: name, time zone, password, second factors, sessions, shortcuts, Discord accounts.

Everything here changes what belongs to the person who asks; what admins change stands in `people.directory`. Start
reading at `views.py`.
"""
