"""What the promises of speed come to. `make bench` runs them all."""
