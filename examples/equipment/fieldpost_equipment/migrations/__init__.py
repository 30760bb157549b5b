"""Migrations of the equipment tables."""
