"""manage.py with the tests' settings. `python -m tests.manage …`"""

import os
import sys

from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
execute_from_command_line(sys.argv)
