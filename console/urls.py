"""Every address of the console."""

from django.contrib.auth import views as auth_views
from django.urls import include, path

from console.health.views import livez, metrics, readyz

urlpatterns = [
    path("sign-in/", auth_views.LoginView.as_view(redirect_authenticated_user=True), name="sign-in"),
    path("sign-out/", auth_views.LogoutView.as_view(), name="sign-out"),
    path("livez", livez, name="livez"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("", include("messages.urls")),
]

handler400 = "console.core.problems.bad_request"
handler403 = "console.core.problems.permission_denied"
handler404 = "console.core.problems.not_found"
handler500 = "console.core.problems.server_error"
