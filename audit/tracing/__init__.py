"""Tells the story of one message from its entries alone, in sentences: it outlives every row of the mirror."""
