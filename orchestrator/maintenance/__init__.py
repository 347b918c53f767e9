"""Periodic duties of the worker: which there are, how each runs by itself, and when each last succeeded."""
