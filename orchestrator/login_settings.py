"""How people log in to the admin: the part of the settings that Django, mozilla-django-oidc and django-axes read."""

from datetime import timedelta

from orchestrator import env

_PRODUCTION = env.production()

# How people log in to the admin: at the first of the issuers, as this client of it. Without a client id they cannot.
OIDC_RP_CLIENT_ID = env.text("OIDC_RP_CLIENT_ID", "")
"""The client at the first issuer by which people log in. Without it they cannot log in there."""
OIDC_RP_CLIENT_SECRET = env.secret("OIDC_RP_CLIENT_SECRET") if OIDC_RP_CLIENT_ID else ""
"""That client's secret; must be set with the client."""
OIDC_RP_SCOPES = env.text("OIDC_RP_SCOPES", "openid profile email")
"""What a login asks for."""
OIDC_STAFF_ROLES = env.names("OIDC_STAFF_ROLES", ("operator", "auditor", "approver"))
"""Who of those who log in may use the admin: whoever holds one of these roles."""
OIDC_USE_PKCE = True
OIDC_PKCE_CODE_CHALLENGE_METHOD = "S256"
OIDC_USE_NONCE = True
OIDC_STORE_ID_TOKEN = True
"""In the session, to log out at the provider with."""
OIDC_STORE_ACCESS_TOKEN = False
LOGIN_REDIRECT_URL = "/admin/"

ADMIN_PASSWORD_LOGIN = env.flag("ADMIN_PASSWORD_LOGIN", not _PRODUCTION)
"""Whether a password is a way into the admin too, for when the identity provider is away."""
AUTHENTICATION_BACKENDS = [
    # First: it alone takes part in its own login, and is never asked about a password.
    *(["orchestrator.people.login.OidcLogin"] if OIDC_RP_CLIENT_ID else []),
    # Lets nobody in; keeps those out who failed too often.
    "axes.backends.AxesStandaloneBackend",
    *(["django.contrib.auth.backends.ModelBackend"] if ADMIN_PASSWORD_LOGIN else []),
]
AXES_ENABLED = ADMIN_PASSWORD_LOGIN
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "orchestrator.addresses.counted_client"
AXES_LOCKOUT_CALLABLE = "orchestrator.people.break_glass.locked_out"
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# The admin's login lasts a working day.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _PRODUCTION
# So named, a browser takes them over https alone, from this very host, for all of it (RFC 6265bis, section 4.1.3.2).
SESSION_COOKIE_NAME = "__Host-sessionid" if _PRODUCTION else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if _PRODUCTION else "csrftoken"
LOGIN_COOKIE_NAME = "__Host-login" if _PRODUCTION else "login"
# Logins that one browser may have begun at once: all of them are in one cookie.
OIDC_MAX_STATES = 5
SESSION_COOKIE_AGE = 8 * 60 * 60
ADMIN_IDLE_SECONDS = env.seconds("ADMIN_IDLE_SECONDS", 1800, 60, SESSION_COOKIE_AGE)
"""After how long without a request a login to the admin ends."""
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "orchestrator.admin.middleware.csrf_failure"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "orchestrator.people.passwords.NoContextWords"},
]
