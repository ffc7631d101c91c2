"""Working hours with holidays: the arithmetic (`opening`, pure), and the pages on which
admins set them.
"""
