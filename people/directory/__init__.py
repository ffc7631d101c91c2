"""The list of people and the page of one person, with what admins change there.

It is the top of `people`: nothing else in it imports this. Start reading at `views.py`.
"""
