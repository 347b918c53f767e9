"""How the admin looks: the part of the settings that django-unfold reads."""

UNFOLD = {
    "SITE_TITLE": "Orchestrator",
    "SITE_HEADER": "Orchestrator",
    "SITE_SYMBOL": "hub",
    "SITE_URL": None,
    "DASHBOARD_CALLBACK": "sessions_app.admin.overview.told",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "/static/orchestrator/icon.svg"}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
}
