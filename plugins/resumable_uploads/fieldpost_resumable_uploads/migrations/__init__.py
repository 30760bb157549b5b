"""The migrations of the tables of resumable uploads. Released ones are never edited; add the next one instead."""
