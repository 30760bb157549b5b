"""The right to change a form fill: the right to change its inspection."""

from app.policies import change as may_change

__all__ = ["may_change"]
