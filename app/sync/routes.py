"""`POST /sync`, `GET /sync/types`, `GET /sync/status` (contract, sections 3 and 5)."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("sync", __name__)
