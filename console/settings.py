"""Django settings, derived from console.core.config: the environment is read there and nowhere else."""

from __future__ import annotations

import sys
from pathlib import Path

import dj_database_url
from csp.constants import NONE, SELF

from console.core.config import WEB_THREADS, load_config
from console.core.errors import ConfigurationError
from console.core.logs import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent
CONFIG = load_config()

DEBUG = False
SECRET_KEY = CONFIG.secret_key()
ALLOWED_HOSTS = list(CONFIG.allowed_hosts)
SECURE = CONFIG.url.startswith("https://")
CSRF_TRUSTED_ORIGINS = [CONFIG.url]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.admin",
    "django_htmx",
    "csp",
    "axes",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "console.core",
    "console.identity",
    "console.audit",
    "console.demo",
    "messages.apps.MessagesConfig",
    "alerts.apps.AlertsConfig",
]

MIDDLEWARE = [
    "console.health.middleware.RequestMetrics",
    "django.middleware.security.SecurityMiddleware",
    "messages.ingest.first.IngestFirst",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "console.identity.middleware.ActorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "console.core.problems.ConsoleErrorMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "console.urls"
WSGI_APPLICATION = "console.wsgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "console.dashboard.context.frame",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]


def _database() -> dict[str, object]:
    """Return the connection settings; tools that never connect (collectstatic, --help) run without an address."""
    try:
        url = CONFIG.resolved_database_url()
    except ConfigurationError:
        if len(sys.argv) > 1 and sys.argv[1] in {"collectstatic", "makemigrations", "spectacular", "help", "check"}:
            url = "postgres://nobody@127.0.0.1:1/none"
        else:
            raise
    return dict(dj_database_url.parse(url, conn_max_age=None, conn_health_checks=True))


DATABASES = {"default": {**_database(), "ATOMIC_REQUESTS": False}}
DATABASES["default"]["OPTIONS"] = {
    **dict(DATABASES["default"].get("OPTIONS") or {}),  # type: ignore[call-overload]
    # Only of statements that ingest binds on the server; the ORM binds in the client. Two fifths of PostgreSQL's time for a small batch.
    "prepare_threshold": 0 if CONFIG.prepared_statements else None,
    "options": "-c statement_timeout=15000 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=30000",
    "application_name": "waybill",
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


def _redis_url() -> str:
    try:
        return CONFIG.resolved_redis_url()
    except ConfigurationError:
        return "redis://127.0.0.1:1/0"  # nothing there: cache misses and tasks wait for the sweep


REDIS_URL = _redis_url()
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "waybill",
        "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.db"

AUTH_USER_MODEL = "identity.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
LOGIN_URL = "/sign-in/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/sign-in/"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "registration/locked.html"
AXES_VERBOSE = False
AXES_ENABLE_ADMIN = False

SESSION_COOKIE_NAME = "__Host-waybill" if SECURE else "waybill"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
CSRF_COOKIE_NAME = "__Host-waybill-csrf" if SECURE else "waybill-csrf"
CSRF_FAILURE_VIEW = "console.core.problems.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = False  # the proxy redirects pages; ingest over http is refused there, not redirected
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE else None
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    "security.W008",  # SECURE_SSL_REDIRECT: see above
    "staticfiles.W004",  # the folder of bundles is made by `prepare`
]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024  # ingest reads its own body with its own caps
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000
FILE_UPLOAD_HANDLERS = [
    "console.core.uploads.CappedUpload",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

MAIL = CONFIG.mail_server
EMAIL_BACKEND = (
    "django.core.mail.backends.smtp.EmailBackend" if MAIL else "django.core.mail.backends.dummy.EmailBackend"
)
if MAIL:
    EMAIL_HOST, EMAIL_PORT = MAIL.host, MAIL.port
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL.user, MAIL.password
    EMAIL_USE_TLS, EMAIL_USE_SSL = MAIL.starttls, MAIL.tls
    DEFAULT_FROM_EMAIL = SERVER_EMAIL = MAIL.sender
EMAIL_TIMEOUT = 10
CONSOLE_URL = CONFIG.url

LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = None

STATIC_URL = "/static/"
STATIC_ROOT = CONFIG.data / "static"
STATICFILES_DIRS = [
    BASE_DIR / "static",
    CONFIG.data / "bundles",
]  # bundles: what set-up makes from wheels, see console.core.bundles
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_MAX_AGE = 31_536_000

LOGGING_CONFIG = None
logging_config(CONFIG.log_level)

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "waybill"
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "max_retries": 1,
    "interval_start": 0,  # kombu's two seconds would hold every request that has work for a worker
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULE_FILENAME = str(CONFIG.data / "beat-schedule")
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_PUBLISH_RETRY = False  # a dead broker must not hold a request: the sweep finds the row
CELERY_TASK_TIME_LIMIT = 120

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "console.identity.rest.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["console.core.parsers.JSONParser"],
    "DEFAULT_THROTTLE_CLASSES": [],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "console.core.problems.rest_exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "DATETIME_FORMAT": "iso-8601",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Waybill",
    "DESCRIPTION": "Integration observability and operations: search messages, read journeys, replay dead letters. "
    "[What each error code means and whether to send again](/docs/errors).",
    "VERSION": "1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # With deep links it puts a link inside each button, which no screen reader can reach.
    "SWAGGER_UI_SETTINGS": {"deepLinking": False, "persistAuthorization": False},
    # Two fields of one name with other words each: OpenAPI needs a name for each set.
    "ENUM_NAME_OVERRIDES": {
        "DeadLetterStateEnum": "messages.models.DeadLetter.State",
        "PlanStateEnum": "messages.plans.states.STATES",
        "CompensationStateEnum": "messages.compensation.states.STATES",
        "CompensationStepStateEnum": "messages.compensation.states.STEP_STATES",
        "ReplayStateEnum": "messages.models.Replay.State",
        "ChangeKind": "messages.models.Change.Kind",
        "MaskingKind": "messages.models.MaskingRule.Kind",
        "GroupStateEnum": "messages.groups.states.STATES",
        "BreachSourceEnum": "alerts.breaches.queries.SOURCES",
        "SourceEnum": "messages.models.Plan.Source",
        "SearchIndexStateEnum": [
            ("live", "live"),
            ("rebuilding", "rebuilding"),
            ("building", "building"),
            ("missing", "missing"),
        ],
        "SubscriptionStateEnum": "messages.models.Subscription.State",
        "OutboxMailStateEnum": "messages.models.OutboxMail.State",
        "ReconciliationStateEnum": "messages.models.Reconciliation.State",
        "ReconciliationCheckStateEnum": "messages.models.ReconciliationCheck.State",
        "DeliveryStateEnum": "alerts.delivery.states.STATES",
        "ReportStateEnum": "alerts.reports.states.REPORT_STATES",
        "ReportMailStateEnum": "alerts.reports.states.MAIL_STATES",
        "BreachStateEnum": "alerts.breaches.states.STATES",
        "ObjectiveKindEnum": "alerts.models.Objective.Kind",
        "UndoKindEnum": [("http", "http"), ("message", "message"), ("manual", "manual")],
    },
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SCHEMA_PATH_PREFIX": "/api/v1",
}

INGEST_THREADS = WEB_THREADS
AGENT_EVENTS_PER_S, AGENT_BYTES_PER_S = CONFIG.agent_events_per_s, CONFIG.agent_bytes_per_s
DISK_PATHS = CONFIG.disk_paths
DISK_RESERVE_PERCENT = CONFIG.disk_reserve_percent
REPLAY_OVERDUE_MINUTES = CONFIG.overdue_minutes
COMPENSATION_SENDERS = CONFIG.compensation_senders
APPROVE_ABOVE = CONFIG.approve_above
CONSOLE_FAMILIES: dict[str, str] = {}  # kind → dotted path of a Family of the operator's own
CONSOLE_NEXT_BREACHES = (
    "alerts.objectives.queries.next_breaches"  # dotted path, (flow ids) → {flow id: moment}; empty: nobody knows
)
CONSOLE_BUDGETS = "alerts.objectives.queries.budgets_left"  # dotted path, (flow ids) → [(flow id, objective, events left)]; empty: none
CONSOLE_NOTIFIERS: dict[str, str] = {}  # kind → dotted path of a Notifier of the operator's own
ELASTICSEARCH_URLS, ELASTICSEARCH_API_KEY = CONFIG.elasticsearch_urls, CONFIG.elasticsearch_api_key
ELASTICSEARCH_CA, ELASTICSEARCH_PREFIX = CONFIG.elasticsearch_ca, CONFIG.elasticsearch_prefix
SEARCH_BACKEND = "elasticsearch" if ELASTICSEARCH_URLS else "postgresql"
CONSOLE_SEARCH_BACKENDS: dict[str, str] = {}  # kind → dotted path of a search back end of the operator's own
