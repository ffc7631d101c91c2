"""Messages as MultiMail holds them: accounts, revisions, attachments, threads, and the reads that keep them in step.

It knows neither policy nor decisions; the desk examines contents through `store.Examiner`. Start
with `store.py`.
"""
