from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0053_teams_of_group_rules"),
    ]

    operations = [
        migrations.AddField(
            model_name="failuregroup",
            name="figures_no",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
    ]
