"""Every address of the console."""

from django.contrib import admin
from django.contrib.auth import views as auth_views
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from console.dashboard import account, agents, audit, docs, teams
from console.dashboard import views as dashboard
from console.dashboard.api import Overview
from console.demo import views as demo
from console.demo.api import Demo, DemoFault
from console.health.views import livez, metrics, readyz

urlpatterns = [
    path("sign-in/", auth_views.LoginView.as_view(redirect_authenticated_user=True), name="sign-in"),
    path("sign-out/", auth_views.LogoutView.as_view(), name="sign-out"),
    path("account/password/", account.password, name="password"),
    # the admin changes nothing, not even the reader's own password: that is asked for, checked and audited here
    re_path(r"^admin/password_change/(done/)?$", RedirectView.as_view(url="/account/password/")),
    path("admin/", admin.site.urls),
    path("docs/errors", docs.errors, name="docs-errors"),
    path("livez", livez, name="livez"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("", dashboard.overview, name="overview"),
    path("first-run/light", dashboard.first_light, name="first-light"),
    path("first-run/key", dashboard.first_key, name="first-key"),
    path("environment/", dashboard.switch_environment, name="environment"),
    path("agents/", agents.agents, name="agents"),
    path("agents/<int:pk>/", agents.agent, name="agent"),
    path("agents/<int:pk>/quota", agents.quota, name="agent-quota"),
    path("agents/<int:pk>/keys/<int:key>/revoke", agents.revoke, name="agent-key-revoke"),
    path("audit/", audit.audit, name="audit"),
    path("settings/teams/", teams.teams, name="teams"),
    path("demo/", demo.demo, name="demo"),
    path("demo/faults/<slug:key>", demo.switch, name="demo-fault"),
    path("api/v1/overview", Overview.as_view()),
    path("api/v1/demo", Demo.as_view()),
    path("api/v1/demo/faults/<str:name>", DemoFault.as_view()),
    path("", include("alerts.urls")),
    path("", include("messages.urls")),
]

handler400 = "console.core.problems.bad_request"
handler403 = "console.core.problems.permission_denied"
handler404 = "console.core.problems.not_found"
handler500 = "console.core.problems.server_error"
