"""Cards: the posts about messages, connections and the desk, as data that every chat
channel turns into its own format. How much a card says depends on the destination's
level of privacy.

No file here knows a channel: a `Markup` says how text is escaped, bold or linked. Start
reading at markup.py, then message.py.
"""
