"""Commands for verdicts and decisions: to give them, carry them out, undo them, and end
them when MultiMail reports. Their pages are elsewhere.

`decide.py` makes a decision, `execute.py` carries it out, and only `settle.py` changes
its state.
"""
