"""Messages as MultiMail holds them: accounts, revisions, attachments, threads, and the reads that keep them in step.

It knows neither policy nor decisions; what the desk works out of a content it asks through `store.Examiner`. Start
with `store.py`.
"""
