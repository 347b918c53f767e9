"""The work: sessions, tasks, approvals. The same three nouns in each layer."""
