"""Who may delete a photo: whoever may change its form fill."""

from app.policies import change as may_change

__all__ = ["may_change"]
