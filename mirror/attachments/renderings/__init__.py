"""Renderings of attached files: pages of PDFs as pictures, Office files as text and tables, metadata of pictures.

A file is read only by `program.py`, a process of its own that is confined first. `store.py` runs it and keeps what it
made for a while. A rendering is for reading; what is approved and sent are the bytes.
"""
