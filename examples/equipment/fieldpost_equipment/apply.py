"""What the operations do."""

from functools import partial
from pathlib import Path

from app.clock import to_wire
from app.plugin_api import Context, Operation, Outcome, Rejected, edit


def record_item(operation: Operation, context: Context) -> Outcome:
    """Make a piece of equipment, or change its tag and details."""
    if len(operation.data.get("details", {})) > context.settings["most_details"]:
        raise Rejected("too_many_details", "There are too many details", details={"details": ["Send fewer."]})
    if context.settings["journal"]:
        who = f"{context.user.email} {context.device_id} {to_wire(context.now)}"
        line = f"{who} {operation.type} {operation.index} {operation.local_id}"
        context.after_commit(partial(note, Path(context.settings["journal"]), line))
    outcome = edit(operation, context)
    if "keeper_phone" in operation.changes:
        context.change(outcome.row or operation.target, {"keeper_id": context.user.id})
    room = operation.rows["room"]
    if outcome.row is not None and room is not None:
        if room.inspection_id != operation.parent.inspection_id:
            raise Rejected("invalid", "The room belongs to another inspection")
        context.change(outcome.row, {"room_id": room.id})
        context.change(room, {"item_count": room.item_count + 1})
    return outcome


def note(journal: Path, line: str) -> None:
    """Tell the outside world, once it is certain."""
    with journal.open("a") as file:
        file.write(f"{line}\n")


def move(operation: Operation, context: Context) -> Outcome:
    """Move a piece of equipment to another room; both rooms count."""
    item, old, new = operation.target, operation.rows["old"], operation.rows["new"]
    if new.inspection_id != item.inspection_id:
        raise Rejected("invalid", "The room belongs to another inspection")
    if old is new:
        return Outcome()
    context.change(item, {"room_id": new.id})
    context.change(new, {"item_count": new.item_count + 1})
    if old is not None:
        context.change(old, {"item_count": old.item_count - 1})
    return Outcome(message="Equipment moved", result={"from": None if old is None else old.name, "to": new.name})


def retire(operation: Operation, context: Context) -> Outcome:
    """Throw all away that is in a room."""
    for item in operation.rows["items"]:
        context.delete(item)
    context.change(operation.target, {"item_count": 0})
    return Outcome(message="Equipment retired")


def check(operation: Operation, context: Context) -> Outcome:
    """Record a check of a piece of equipment, or correct its score."""
    if operation.target is not None:
        return edit(operation, context)
    item = operation.rows["item"]
    if item is None or item.inspection_id != operation.parent.inspection_id:
        raise Rejected("invalid", "Invalid payload", details={"item_id": ["Name equipment of this inspection."]})
    return Outcome(row=context.create(operation.model, operation.parent, {**operation.changes, "item_id": item.id}))
