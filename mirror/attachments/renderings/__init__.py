"""Reads attached files and makes renderings: pages of PDFs as pictures, Office files as
text and tables, and the metadata of pictures.

This code runs only in the parser's processes, which are confined before they read a
file. `attachments/parsed.py` asks for renderings and stores them for a while. A
rendering is only for reading: what is approved and sent is the file itself.
"""
