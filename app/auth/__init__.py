"""Signing in (contract, section 1)."""

from __future__ import annotations

from flask import Flask

from app.config import Settings


def init_auth(app: Flask, settings: Settings) -> None:
    """Give the application its tokens, its login routes and Flask-Login's request loader."""
