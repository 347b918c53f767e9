"""What agents reach the orchestrator with: a client, a worker, MCP tools, a command line. Knows nothing of Django."""

__version__ = "0.1.0"
