"""Schemas that check bodies, beside those that read them: JSON Schema and XSD. And room for the reason no_connection, of 13 letters."""

from django.db import migrations, models

FORMATS = [("avro", "Avro"), ("protobuf", "Protobuf"), ("json", "JSON Schema"), ("xsd", "XSD")]


class Migration(migrations.Migration):
    dependencies = [("messaging", "0026_plans")]

    operations = [
        migrations.AlterField(
            model_name="planitem", name="left_out", field=models.CharField(blank=True, max_length=20)
        ),
        migrations.AlterField(
            model_name="schema", name="format", field=models.CharField(choices=FORMATS, max_length=10)
        ),
        migrations.RemoveConstraint(model_name="schema", name="schema_format_is_known"),
        migrations.RemoveConstraint(model_name="schema", name="schema_is_compiled_iff_protobuf"),
        migrations.AddConstraint(
            model_name="schema",
            constraint=models.CheckConstraint(
                condition=models.Q(("format__in", ["avro", "protobuf", "json", "xsd"])), name="schema_format_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="schema",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(models.Q(("compiled", b""), _negated=True), ("fingerprint", ""), ("format", "protobuf")),
                    models.Q(models.Q(("fingerprint", ""), _negated=True), ("compiled", b""), ("format", "avro")),
                    models.Q(("compiled", b""), ("fingerprint", ""), ("format__in", ["json", "xsd"])),
                    _connector="OR",
                ),
                name="schema_is_compiled_iff_protobuf",
            ),
        ),
    ]
