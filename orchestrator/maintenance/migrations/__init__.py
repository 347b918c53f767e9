"""The schema, step by step. Additive from here on."""
