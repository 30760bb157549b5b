"""Resumable uploads after tus 1.0: photos and signatures over connections that break. An optional extra of Fieldpost.

It has no operation type, but routes, two tables, and upkeep. The bytes that arrive are kept in the storage, so that any
node can go on with an upload. Once it is whole, it becomes the attachment that `POST /sync/upload_photo` would make.
"""

from app.plugin_api import Plugin
from fieldpost_resumable_uploads.routes import blueprint
from fieldpost_resumable_uploads.upkeep import collect, erase, keeps

__all__ = ["plugin"]

plugin = Plugin(
    name="resumable_uploads",
    api_version=1,
    migrations="fieldpost_resumable_uploads.migrations",
    blueprint=blueprint,
    abilities=("resumable_uploads",),
    settings={
        # How long an upload is kept after its latest bytes have arrived.
        "lifetime_hours": 168,
        # The announced bytes of one user's unfinished uploads, at most; each counts for 64 KiB at least.
        "most_pending_bytes": 256 * 1024 * 1024,
    },
    collect=collect,
    keeps=keeps,
    erase=erase,
)
