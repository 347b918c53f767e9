"""Every call of the API, by noun."""
