"""Elasticsearch as a search back end: documents and questions (pure), the outbox, its worker, and rebuilding."""
