"""Items of devices that were not applied: the list of them, and the decisions about them (contract, section 12)."""

from app.administration.set_aside.decisions import Decision, decide, decide_many
from app.administration.set_aside.listing import (
    MOST_AT_ONCE,
    causes,
    count_decidable,
    count_open,
    decidable_among,
    decidable_keys,
    keys_of,
    list_set_aside,
    neighbours,
)
from app.administration.set_aside.private import without_private
from app.administration.set_aside.selection import STATES, Filters
from app.administration.set_aside.sent import place_fields, sent_fields
from app.administration.set_aside.shown import show_set_aside

__all__ = [
    "MOST_AT_ONCE",
    "STATES",
    "Decision",
    "Filters",
    "causes",
    "count_decidable",
    "count_open",
    "decidable_among",
    "decidable_keys",
    "decide",
    "decide_many",
    "keys_of",
    "list_set_aside",
    "neighbours",
    "place_fields",
    "sent_fields",
    "show_set_aside",
    "without_private",
]
