"""The tools that agents have over MCP, by what they do."""
