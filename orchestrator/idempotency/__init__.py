"""Every keyed request has one effect and one answer: docs/idempotency.md."""
