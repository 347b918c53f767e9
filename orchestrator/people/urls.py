"""The paths of the login at the identity provider. mozilla-django-oidc finds the callback by its name."""

from django.urls import path

from orchestrator.people.login import Begin, Callback, Logout

urlpatterns = [
    path("authenticate/", Begin.as_view(), name="oidc_authentication_init"),
    path("callback/", Callback.as_view(), name="oidc_authentication_callback"),
    path("logout/", Logout.as_view(), name="oidc_logout"),
]
