"""Identity in the read-only admin; digests and password hashes are not shown."""

from django.contrib import admin
from django.contrib.auth.models import Group

from console.core.readonly import window
from console.identity.models import Agent, Environment, Key, Membership, Team, User

admin.site.site_header = admin.site.site_title = "Waybill, read-only"
admin.site.unregister(Group)
admin.site.register(
    User, window("password", show=("username", "is_active", "is_superuser", "last_login"), search=("username",))
)
admin.site.register(Environment, window(show=("slug", "name", "colour")))
admin.site.register(Team, window(show=("name",)))
admin.site.register(Membership, window(show=("user", "team", "environment", "role")))
admin.site.register(Agent, window(show=("name", "environment", "last_seen_at")))
admin.site.register(Key, window("digest", show=("prefix", "kind", "name", "created_at", "last_used_at", "revoked_at")))
