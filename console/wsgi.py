"""The WSGI entry point that gunicorn serves."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
django = get_wsgi_application()

from console.celery import app as celery_app  # noqa: E402  after Django
from console.core.bodies import with_whole_body  # noqa: E402

# Current is per thread, default is not: without it a task sent by a request's thread looks for a broker on localhost.
celery_app.set_default()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return django(with_whole_body(environ), start_response)
