"""The right to change an inspection from a device: its owner, its assigned technician, administrators."""

from app.policies import change as may_change

__all__ = ["may_change"]
