"""Resumable uploads after tus 1.0: photos and signatures over connections that break. An optional extra of Fieldpost.

Brings no operation type: routes, two tables, and upkeep. What arrives is kept in the storage, so that any node can go
on with it; once it is whole it becomes the attachment that `POST /sync/upload_photo` would have made.
"""

from app.plugin_api import Plugin
from fieldpost_resumable_uploads.routes import blueprint
from fieldpost_resumable_uploads.upkeep import collect, keeps

__all__ = ["plugin"]

plugin = Plugin(
    name="resumable_uploads",
    api_version=1,
    migrations="fieldpost_resumable_uploads.migrations",
    blueprint=blueprint,
    settings={
        # How long an upload is kept after the last of its bytes has arrived.
        "lifetime_hours": 168,
        # How much one user's unfinished uploads may come to, counted as they were announced.
        "most_pending_bytes": 256 * 1024 * 1024,
    },
    collect=collect,
    keeps=keeps,
)
