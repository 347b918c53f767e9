"""The command line: `orchestrator`, or `python -m agent_mesh.cli`."""
