"""How encoded bodies are read for people."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint


class Schema(models.Model):
    """A schema that an administrator configured, and the bodies that it applies to.

    format       Avro and Protobuf read bodies; JSON Schema and XSD check them, before a plan sends what it edited.
    definition   Avro's JSON, .proto source, a FileDescriptorSet in base64, a JSON Schema or an XSD, as it was given.
    compiled     Protobuf: the FileDescriptorSet made of it when it was saved, so that reading compiles nothing.
    fingerprint  Avro: CRC-64-AVRO as 16 hex digits, in the order in which single-object encoding writes it.
    destination  pattern (`*` and `?`) of origins, queues and destinations; "" for any.
    ids          ids of it in a Confluent registry; [] for any. Of ids and destination at least one is given, and both must fit.
    """

    class Format(models.TextChoices):
        AVRO = "avro", "Avro"
        PROTOBUF = "protobuf", "Protobuf"
        JSON = "json", "JSON Schema"
        XSD = "xsd", "XSD"

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="schemas")
    name = models.CharField(max_length=120)
    format = models.CharField(max_length=10, choices=Format.choices)
    definition = models.TextField()
    message = models.CharField(max_length=300, blank=True)
    destination = models.CharField(max_length=200, blank=True)
    ids: models.Field[list[int], list[int]] = ArrayField(models.PositiveIntegerField(), default=list)
    compiled = models.BinaryField(default=b"")
    fingerprint = models.CharField(max_length=16, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            UniqueConstraint(name="schema_name_once_per_environment", fields=["environment", "name"]),
            CheckConstraint(name="schema_format_is_known", condition=Q(format__in=["avro", "protobuf", "json", "xsd"])),
            CheckConstraint(name="schema_applies_to_something", condition=~Q(destination="", ids=[])),
            CheckConstraint(
                name="schema_is_compiled_iff_protobuf",
                condition=Q(~Q(compiled=b""), format="protobuf", fingerprint="")
                | Q(~Q(fingerprint=""), format="avro", compiled=b"")
                | Q(format__in=["json", "xsd"], fingerprint="", compiled=b""),
            ),
        ]

    def __str__(self) -> str:
        return self.name
