"""Which body, which row, which transition, which shape."""
