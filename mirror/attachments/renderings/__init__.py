"""Renderings of attached files: pages of PDFs as pictures, Office files as text and
tables, metadata of pictures.

A file is read only by the parser, in a process of its own that is confined first;
`attachments/parsed.py` asks for renderings and keeps them for a while. A rendering is
for reading; what is approved and sent are the bytes.
"""
