"""Who may change a form fill: whoever may change its inspection."""

from app.policies import change as may_change

__all__ = ["may_change"]
