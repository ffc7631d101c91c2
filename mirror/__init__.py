"""Messages as MultiMail holds them: accounts, revisions, attachments, threads, and the
reads that keep them in step.

It knows neither policy nor decisions; whoever stores a content passes its
`store.Examiner`. Start with `store.py`.
"""
