"""Shapes: what comes in is checked by a `…Body`, what goes out is made by a function."""
