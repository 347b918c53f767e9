"""The house: plumbing that every part of the service stands on. No domain here."""

__version__ = "0.1.0"
