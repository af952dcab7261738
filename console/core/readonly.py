"""Django's admin as a window: everything can be looked at, nothing can be changed there."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Field, Model, URLField
from django.http import HttpRequest


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Changes go through services, which check, audit and tell the worker; the admin would go round them."""

    actions = None
    list_per_page = 50
    show_full_result_count = False

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: Any, **kwargs: Any) -> Any:
        if isinstance(db_field, URLField):
            kwargs["assume_scheme"] = "https"
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)


def window(*hidden: str, show: tuple[str, ...] = (), search: tuple[str, ...] = ()) -> Any:
    """Return a read-only admin class that lists `show`, searches `search`, and never shows the `hidden` fields."""
    return type(
        "Window", (ReadOnlyAdmin,), {"exclude": hidden, "list_display": show or ("__str__",), "search_fields": search}
    )
