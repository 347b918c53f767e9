#!/usr/bin/env python
"""Django's command line, as the service's role."""

import os
import sys

from django.core.management import execute_from_command_line

from orchestrator.database_term import term_guard

# The owner migrates or begins an era on a database whose term is not known yet; verification may read any database.
ON_ANY_DATABASE = {"audit_checkpoint", "audit_new_era", "audit_proof", "audit_verify", "check", "migrate"}

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator.settings")
    if not ON_ANY_DATABASE.intersection(sys.argv[1:2]):
        term_guard().install()
    execute_from_command_line(sys.argv)
