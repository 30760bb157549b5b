"""The right to delete a photo: the right to change its form fill."""

from app.policies import change as may_change

__all__ = ["may_change"]
