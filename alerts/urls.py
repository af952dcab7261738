"""Pages and REST routes of alerts. One line a route; a slice owns the view behind it."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from alerts.objectives import views as objectives

# pages -------------------------------------------------------------------------------------------------------------
urlpatterns: list[URLPattern | URLResolver] = [
    path("objectives/", objectives.objectives, name="objectives"),
    path("objectives/new/", objectives.new, name="objective-new"),
    path("objectives/import/", objectives.take_openslo, name="objectives-import"),
    path("objectives/openslo.yaml", objectives.give_openslo, name="objectives-openslo"),
    path("objectives/<int:pk>/", objectives.objective, name="objective"),
    path("objectives/<int:pk>/what-if/", objectives.what_if, name="objective-what-if"),
    path("objectives/<int:pk>/edit/", objectives.edit, name="objective-edit"),
    path("objectives/<int:pk>/remove/", objectives.remove, name="objective-remove"),
    path("objectives/<int:pk>/exclude/", objectives.exclude, name="objective-exclude"),
    path("objectives/exclusions/<uuid:pk>/withdraw/", objectives.withdraw, name="exclusion-withdraw"),
]

# REST: /api/v1/…, no slash -------------------------------------------------------------------------------------------
urlpatterns += [path("api/v1/", include("alerts.api.urls"))]
