from django.apps import AppConfig


class MessagesConfig(AppConfig):
    """Catalog, ingest, journeys, search, replay. Labelled "messaging": django.contrib.messages owns "messages"."""

    name = "messages"
    label = "messaging"

    def ready(self) -> None:
        """Before the first connection: one knows the types that psycopg had been told of when it was opened."""
        from messages.ingest.arrays import register

        register()
