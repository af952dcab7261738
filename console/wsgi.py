"""The WSGI entry point that gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
application = get_wsgi_application()

from console.celery import app as celery_app  # noqa: E402  after Django

# Current is per thread, default is not: without it a task sent by a request's thread looks for a broker on localhost.
celery_app.set_default()
