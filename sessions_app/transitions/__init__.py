"""The only writer: lock, move, save, record."""
