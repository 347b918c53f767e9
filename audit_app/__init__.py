"""The memory: what happened, append-only. Does not know what it remembers."""
