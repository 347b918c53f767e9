"""What is measured. All of it needs Django, which is set up here, before any of it is imported."""

import django

django.setup()
