"""Django's admin shows everything to administrators, changes nothing, and shows no secret."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from console.identity.models import Role, User
from tests.factories import agent_key, memory_connection, person, stored_letter

pytestmark = pytest.mark.django_db


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(
        User.objects.create_superuser("root", password="long-enough-Secret-1"),
        "django.contrib.auth.backends.ModelBackend",
    )
    return client


@pytest.mark.parametrize("model", list(admin.site._registry), ids=lambda model: model.__name__)
def test_every_model_can_be_looked_at_and_none_changed(root: Client, model: type):
    memory_connection()
    stored_letter()
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"

    assert root.get(reverse(f"{name}_changelist")).status_code == 200
    assert root.get(reverse(f"{name}_add")).status_code == 403
    row = model._default_manager.first()
    if row is not None:
        assert root.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200
        assert root.post(reverse(f"{name}_change", args=[row.pk]), {}).status_code == 403
        assert root.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403


def test_no_secret_is_shown(root: Client):
    agent_key()
    found = memory_connection()

    pages = [
        root.get(f"/admin/identity/user/{User.objects.get(username='root').pk}/change/"),
        root.get(f"/admin/messaging/connection/{found.pk}/change/"),
    ]

    for page in pages:
        assert b"argon2" not in page.content
        assert b"Secret:" not in page.content


def test_nobody_else_gets_in():
    client = Client()
    client.force_login(person("op", Role.ADMINISTRATOR), "django.contrib.auth.backends.ModelBackend")

    assert client.get("/admin/").status_code == 302
