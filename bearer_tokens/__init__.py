"""Access tokens checked against the keys of their issuers (RFC 6750, RFC 7519, RFC 8725), without any framework.

The service and the MCP server use this same code, so a token that one refuses the other refuses too.
"""
