"""How bodies of other platforms become events and dead letters."""

from __future__ import annotations

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint


class Mapping(models.Model):
    """A mapping that an administrator wrote. Its slug is the end of the address that bodies are sent to.

    definition  JSON as it was written: jsonb would bring its members into another order.
    secret      Fernet token of what signs bodies; write-only: no page and no API ever returns it.
    """

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="mappings")
    slug = models.CharField(max_length=30)
    name = models.CharField(max_length=120)
    definition = models.TextField()
    enabled = models.BooleanField(default=True)
    signature_header = models.CharField(max_length=80, blank=True)
    secret = models.BinaryField(default=b"")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["slug"]
        constraints = [
            UniqueConstraint(name="mapping_slug_once_per_environment", fields=["environment", "slug"]),
            CheckConstraint(
                name="mapping_has_a_secret_iff_bodies_are_signed",
                condition=Q(signature_header="", secret=b"") | (~Q(signature_header="") & ~Q(secret=b"")),
            ),
        ]

    def __str__(self) -> str:
        return self.slug
