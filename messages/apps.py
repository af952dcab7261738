from django.apps import AppConfig


class MessagesConfig(AppConfig):
    """Catalog, ingest, journeys, search, replay. Labelled "messaging": django.contrib.messages owns "messages"."""

    name = "messages"
    label = "messaging"
