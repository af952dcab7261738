"""Every address of the console."""

from django.contrib.auth import views as auth_views
from django.urls import include, path

urlpatterns = [
    path("sign-in/", auth_views.LoginView.as_view(redirect_authenticated_user=True), name="sign-in"),
    path("sign-out/", auth_views.LogoutView.as_view(), name="sign-out"),
    path("", include("messages.urls")),
]

handler400 = "console.core.problems.bad_request"
handler403 = "console.core.problems.permission_denied"
handler404 = "console.core.problems.not_found"
handler500 = "console.core.problems.server_error"
