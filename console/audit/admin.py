"""The audit list in the read-only admin."""

from django.contrib import admin

from console.audit.models import AuditEntry
from console.core.readonly import window

admin.site.register(
    AuditEntry, window(show=("at", "actor", "action", "object_label", "reason"), search=("actor", "object_id"))
)
