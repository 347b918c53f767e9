"""Every setting. Read from the environment by the readers of `env`, which refuse what they cannot use."""

from pathlib import Path

from orchestrator import env
from orchestrator.admin_settings import UNFOLD  # noqa: F401  django-unfold reads it here
from orchestrator.log_settings import *  # noqa: F403  what is logged, and how
from orchestrator.login_settings import *  # noqa: F403  the part that people log in by
from orchestrator.openapi_settings import SPECTACULAR_SETTINGS  # noqa: F401  drf-spectacular reads it here
from orchestrator.rest_settings import REST_FRAMEWORK  # noqa: F401  Django REST framework reads it here

BASE_DIR = Path(__file__).resolve().parent.parent

ORCHESTRATOR_ENV = env.choice("ORCHESTRATOR_ENV", ("development", "production"), "development")
"""`production` refuses to start with what would be unsafe there; see [security](security.md#production)."""
VAR = env.place("ORCHESTRATOR_VAR", BASE_DIR / "var")
"""Where the service keeps what is its own: the local signing key and, under `make run`, the database."""

DEBUG = False
SECRET_KEY = env.secret("SECRET_KEY", VAR / "secret_key")
"""What cookies are signed with: 32 random characters or more. `make run` makes one."""
SECRET_KEY_FALLBACKS = env.optional_secrets("SECRET_KEY_FALLBACKS")
"""Former values of `SECRET_KEY`: logins and stored answers under them stay valid. Keep one until its answers expire."""
ALLOWED_HOSTS = list(env.names("ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]")))
"""The names that the service is called by: a request for another is refused."""

# The service's role. Migrations run as the owner: DATABASE_URL="$DATABASE_OWNER_URL" manage.py migrate
DATABASES = {
    "default": {
        **env.database("DATABASE_URL", VAR / "database_url"),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "ATOMIC_REQUESTS": False,
    }
}
"""The database, as the service's role; `make run` makes one."""
WORKER_DATABASE = env.worker_database("WORKER_DATABASE_URL", VAR / "worker_database_url")
"""The same database as the worker's role, which alone may write seals: for `sweep`, `audit_seal` and
`audit_revoke_key`. If it is not set, they use `DATABASE_URL`."""

DATABASE_TERM_FILE = env.place("DATABASE_TERM_FILE", VAR / "database_term.json")
"""The highest [term](operations.md#failover) of the database that was seen: one file for all processes of a machine."""

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "axes",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "orchestrator.people",
    "orchestrator.idempotency",
    "orchestrator.maintenance",
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
    "orchestrator.observing.Observed",
    "orchestrator.middleware.SafeHeaders",
    "orchestrator.middleware.KnownHost",
    "orchestrator.admin.middleware.Pages",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "orchestrator.middleware.BodyLimit",
    "orchestrator.middleware.Bearer",
    "orchestrator.middleware.RateLimit",
    "orchestrator.middleware.StrictJson",
    "orchestrator.idempotency.middleware.Idempotency",
    # Django's own, below ADMIN_PATHS alone.
    "orchestrator.admin.middleware.Sessions",
    "orchestrator.admin.middleware.Csrf",
    "orchestrator.admin.middleware.Authentication",
    "orchestrator.admin.middleware.Idle",
    "orchestrator.admin.middleware.Messages",
    "axes.middleware.AxesMiddleware",
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

ADMIN_PATHS = ("/admin/", "/oidc/")
"""Where people log in by a cookie. Nowhere else is one read."""

MAX_BODY_BYTES = env.whole("MAX_BODY_BYTES", 1024 * 1024, 1024, 64 * 1024 * 1024)
"""How long a body may be. The proxy has the same number, in `docker/nginx/limits.conf` and `refusals.conf`."""
# One byte more: a body in chunks is given that length, and judged once it is read.
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES + 1
UNKNOWN_MEMBERS = env.choice("UNKNOWN_MEMBERS", ("refuse", "ignore"), "refuse")
"""What becomes of members of a body that the service does not know. `ignore` is for clients of an older contract, and
does not count for the bodies of `/approvals` and those with `requires_approval`: there they are always refused."""
SESSION_RETENTION_DAYS = env.whole("SESSION_RETENTION_DAYS", 7, 1, 3650)
"""How long a session lasts unless it is opened with an `expires_at` of its own."""

MOST_WAITING = env.whole("MOST_WAITING", 1, 0, 10_000)
"""How many callers may wait at once in one process, a quarter of them, and at least one, of one subject. More are
answered at once. gunicorn sets half of WEB_THREADS."""

MAX_EXPORTS = env.whole("MAX_EXPORTS", 1, 1, 10_000)
"""How many exports of the trail may run at once in one process, a quarter of them, and at least one, for one subject.
More are refused. gunicorn sets a quarter of WEB_THREADS."""

RATE_LIMIT = env.rate("RATE_LIMIT", "6000/60")
"""How often a subject may call: "600/60" is 600 calls in 60 seconds, which may come at once. "off" is no limit."""
AUTH_FAILURE_LIMIT = env.rate("AUTH_FAILURE_LIMIT", "60/60")
"""How often an address may fail to authenticate, an IPv6 address together with its /64."""
QUOTA_EVENTS = env.rate("QUOTA_EVENTS", "300000/60")
"""How many events the calls of one tenant may record: "60000/60" is 60,000 in 60 seconds. "off" is no limit."""
QUOTA_OPEN_SESSIONS = env.whole("QUOTA_OPEN_SESSIONS", 100_000, 0, 100_000_000)
"""How many sessions of one tenant may be open at once. 0 is no limit."""
QUOTA_PENDING_TASKS = env.whole("QUOTA_PENDING_TASKS", 100_000, 0, 100_000_000)
"""How many tasks of one tenant may be pending or blocked at once. 0 is no limit."""
QUOTA_HELD_LEASES = env.whole("QUOTA_HELD_LEASES", 10_000, 0, 100_000_000)
"""How many tasks of one tenant may be held at once. 0 is no limit."""
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
"""The networks of our own proxies: only what they say of the caller's address is believed."""

APPROVAL_USE_WITHIN_SECONDS = env.whole("APPROVAL_USE_WITHIN_SECONDS", 86_400, 60, 2_592_000)
"""For how many seconds after its approval an action may be consumed, unless the request says."""
APPROVER_DIRECTORY = env.choice("APPROVER_DIRECTORY", ("none", "people"), "none")
"""`people`: all approvers have logged in to the admin, so a request that too few of them can decide is refused."""
APPROVAL_RETENTION_DAYS = env.whole("APPROVAL_RETENTION_DAYS", 400, 0, 36_500)
"""How many days after its end a task or session that people decided about cannot be deleted."""
DELETE_NEEDS_SECOND_PERSON = env.flag("DELETE_NEEDS_SECOND_PERSON", False)
"""Whether a DELETE needs the approval of a second person."""
DELETE_APPROVER_ROLE = env.name("DELETE_APPROVER_ROLE", "operator", 50)
"""The approver role that agrees to a DELETE, where that needs a second person."""

IDEMPOTENCY_ENABLED = env.flag("IDEMPOTENCY_ENABLED", True)
"""Whether an `Idempotency-Key` is looked at. Off, `/tasks/route` still demands one."""
IDEMPOTENCY_TTL_SECONDS = env.seconds("IDEMPOTENCY_TTL_SECONDS", 86_400)
"""How long a key is remembered. After it, the key is new."""
IDEMPOTENCY_UNSIGNED_UNTIL = env.moment("IDEMPOTENCY_UNSIGNED_UNTIL")
"""Until when stored answers without an authentication code are replayed. For the upgrade from a version without codes:
`IDEMPOTENCY_TTL_SECONDS` after the last process of that version stops. Unset, they are never replayed."""
IDEMPOTENCY_PASSED_OVER = ("/tasks/claim", "/tasks/*/heartbeat")
"""Paths whose answers are never remembered: a lease's token is told once, and its loss is healed by the lease."""
IDEMPOTENCY_EPOCH = env.whole("IDEMPOTENCY_EPOCH", 1, 1, 2**31)
"""Part of every cached answer's name: raise it when a database is restored to an older point."""

REDIS_URL = env.redis_url("REDIS_URL")
"""Where answers are cached and rates counted. Without it the guarantees are the same."""
CACHES: dict[str, dict[str, object]] = {
    # Django's own cache unpickles what it reads: in Redis, whoever writes there would run code here.
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}
if REDIS_URL:
    # For its raw client alone; see orchestrator/redis.py.
    CACHES["redis"] = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        # Redis may cost latency, never an answer: nobody waits for it longer than this, in seconds.
        "OPTIONS": {
            "SOCKET_CONNECT_TIMEOUT": 0.05,
            "SOCKET_TIMEOUT": 0.05,
            "CONNECTION_POOL_KWARGS": {"max_connections": 100, "retry_on_timeout": False},
        },
    }

OIDC_ISSUERS = env.issuers()
"""Whose tokens are taken. With none, those signed with the service's own key.

- `OIDC_ISSUER_URL` (an http or https address): The one issuer, as its tokens name it. Production takes https alone.
- `OIDC_AUDIENCE` (text): The audience that its tokens must name; must be set with an issuer.
- `OIDC_JWKS_URL` (an http or https address): Where its keys are, if not where its discovery document says.
- `OIDC_TENANTS` (a comma list): The tenants it may assert, `default` unless set; `*` is any.
- `OIDC_PERSON_RULES` (JSON): By which claims its tokens are a person's; see [security](security.md#persons).
- `OIDC_ISSUERS` (JSON): Several issuers, a list of `{issuer, audience, jwks_url, tenants, person_rules}`, instead of
  the five above.
"""

# Where in a token the caller's rights stand: dotted paths into the claims.
OIDC_ROLES_CLAIM = env.text("OIDC_ROLES_CLAIM", "realm_access.roles")
"""The claim with the caller's roles, as a dotted path: `resource_access.<client>.roles` works too."""
OIDC_AGENT_ROLES_CLAIM = env.text("OIDC_AGENT_ROLES_CLAIM", "agent_roles")
"""The claim with the agent roles that the caller may act as, as a dotted path."""
OIDC_TENANT_CLAIM = env.text("OIDC_TENANT_CLAIM", "tenant")
"""The claim with the caller's tenant, as a dotted path."""

OIDC_DECIDING_CLIENTS = env.names("OIDC_DECIDING_CLIENTS")
"""The clients whose tokens may approve or reject by API. If it is not set, people decide in the admin only."""
APPROVAL_ACR_VALUES = env.acr_values("APPROVAL_ACR_VALUES")
"""The levels of login that a decision needs one of (`acr`), the preferred one first. If it is not set, any will do."""
APPROVAL_MAX_AUTH_AGE_SECONDS = env.whole("APPROVAL_MAX_AUTH_AGE_SECONDS", 0, 0, 2_592_000)
"""How old the login (`auth_time`) behind a decision may be, in seconds. 0 is any age."""

LOCAL_KEY_FILE = VAR / "signing_key.pem"
"""The service's own signing key, made on the first run."""
LOCAL_ISSUER = env.LOCAL_ISSUER
LOCAL_AUDIENCE = "orchestrator"
LOCAL_CLIENT = "issue_token"
"""The client that local tokens name. It decides by API, for the local issuer only."""

# The seals of the trail: see docs/audit.md. Outside the database, all of them.
AUDIT_SEAL_KEY_FILE = env.place("AUDIT_SEAL_KEY_FILE", VAR / "seal_key.pem")
"""The key that signs the seals; made on the first run."""
AUDIT_SEAL_FORMER_KEY_FILE = env.place("AUDIT_SEAL_FORMER_KEY_FILE", VAR / "former_seal_key.pem")
"""The key that signed before, while the key is being changed."""
AUDIT_SEAL_PUBLIC_KEYS = env.place("AUDIT_SEAL_PUBLIC_KEYS", VAR / "seal_keys")
"""The folder of the public keys, by which seals are verified."""
AUDIT_ANCHOR_FILE = env.place("AUDIT_ANCHOR_FILE", VAR / "audit_anchor.ndjson")
"""Each seal once more: only appended to. Best on a machine that the database's owner cannot write to."""
AUDIT_CHECKPOINT_FILE = env.place("AUDIT_CHECKPOINT_FILE", VAR / "audit_anchor.checkpoint")
"""One signed root over all seals, for verifiers of transparency logs. It belongs beside the anchor."""
AUDIT_CHECKPOINT_ORIGIN = env.origin("AUDIT_CHECKPOINT_ORIGIN", "orchestrator.localhost/audit")
"""The name of the log in checkpoints: an address of yours without its scheme, such as `audit.example.org/seals`."""
HEALTH_DETAILS = {"audit": "audit_app.sealing.health"}
"""What `/health` tells beside how the service is, by the function that knows."""

METRICS_TOKEN = env.optional_secret("METRICS_TOKEN", VAR / "metrics_token")
"""What Prometheus sends as its bearer token. `make run` makes one."""
METRICS_NETWORKS = env.networks("METRICS_NETWORKS")
"""From where `/metrics` may be scraped. Whatever is set of this and the token must be met; with neither, nobody may."""
MAINTENANCE_JOBS = "sessions_app.jobs.JOBS"
"""The table of the maintenance jobs, which `manage.py sweep` runs and `/health` judges."""
METRICS_SOURCES = {
    "database": "orchestrator.measuring.database",
    "work": "sessions_app.measuring.work",
    "audit": "audit_app.sealing.measured",
    "jobs": "orchestrator.maintenance.measuring.jobs",
    "feed": "audit_app.feed.measured",
}
"""What is measured when somebody scrapes, by the function that measures: with two seconds for each statement of it."""
AUDIT_SUBJECTS = {
    "session": "sessions_app.Session",
    "task": "sessions_app.Task",
    "approval": "sessions_app.Approval",
}
"""The models whose rows have chains: what verification compares the chains with."""
AUDIT_ATTEMPTS = "sessions_app.Attempt"
"""The model of the attempts at tasks, whose beginnings the chains of these tell of."""
AUDIT_PEOPLE = "people.Person"
"""The model of the people, whose chains tell of their rights."""
PEOPLE_RECORDER = "sessions_app.transitions.people_chain.record_arrival"
"""What records a login at the identity provider, and the rights that it changed."""
AUDIT_DECISIONS = "sessions_app.Decision"
"""The model of the decisions on approvals, which the chains of these tell of."""

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Served by the process itself, straight from the packages that bring them: there is nothing to collect.
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_ALLOW_ALL_ORIGINS = False

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False

SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
SECURE_HSTS_SECONDS = env.whole("SECURE_HSTS_SECONDS", 31_536_000, 0, 63_072_000)
"""How long browsers that came by https come by nothing else, in seconds. 0 is off."""
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.flag("SECURE_HSTS_INCLUDE_SUBDOMAINS", False)
"""Whether browsers hold all names below the service's to https as well: for the owner of the domain to say."""
SECURE_HSTS_PRELOAD = False
SILENCED_SYSTEM_CHECKS = [
    "security.W001",  # SafeHeaders sets what SecurityMiddleware would, on every path
    "security.W002",  # and what XFrameOptionsMiddleware would
    "security.W003",  # the CSRF check runs below ADMIN_PATHS, where a cookie counts, as a class of our own
    "security.W005",  # subdomains (SECURE_HSTS_INCLUDE_SUBDOMAINS) and
    "security.W021",  # preload lists are for the owner of the domain to decide
    "security.W008",  # TLS is the proxy's
]
