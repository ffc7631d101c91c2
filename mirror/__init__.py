"""Messages as MultiMail holds them: revisions, attachments, threads and accounts, and the reads that keep them in step.

It knows neither policy nor decisions. Start with `store.py`.
"""
