"""Swagger UI from the sidecar. It sets styles of its own on elements, so this one page allows inline styles (never scripts)."""

from __future__ import annotations

from csp.constants import UNSAFE_INLINE
from csp.decorators import csp_update
from django.utils.decorators import method_decorator
from drf_spectacular.views import SpectacularSwaggerSplitView


@method_decorator(csp_update({"style-src": [UNSAFE_INLINE]}), name="dispatch")
class ApiDocs(SpectacularSwaggerSplitView):
    """`/api/v1/docs/`."""

    template_name = "api_docs.html"
