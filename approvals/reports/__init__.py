"""What reports count, of whatever the reader may see."""
