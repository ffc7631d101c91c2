"""What cards say about messages, connections and the desk, at each level of privacy, in
any channel's markup.

It knows no channel: a `Markup` says how text is escaped, bold or linked. Start reading
at markup.py, then message.py.
"""
