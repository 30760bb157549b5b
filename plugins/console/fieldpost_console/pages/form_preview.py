"""A form as a phone would show it: its sections, with the field of each label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from app.administration import form_labels
from app.plugin_api import Label

#: The most fields that a preview draws.
MOST_FIELDS = 300


class PreviewField(NamedTuple):
    """A field of the preview."""

    type: str
    label: Label


class Preview(NamedTuple):
    """The sections in the form's order, each with its fields, and how many further fields there are."""

    sections: list[tuple[str, list[PreviewField]]]
    left_out: int


def preview_of(structure: Sequence[Mapping[str, Any]]) -> Preview:
    """The preview of a structure, which may be one that is still being designed."""
    sections: list[tuple[str, list[PreviewField]]] = []
    for field in structure[:MOST_FIELDS]:
        label = label_of(field)
        if not sections or sections[-1][0] != label.section:
            sections.append((label.section, []))
        sections[-1][1].append(PreviewField(str(field.get("type")), label))
    return Preview(sections, len(structure[MOST_FIELDS:]))


def label_of(field: Mapping[str, Any]) -> Label:
    """The label of one field of a structure."""
    (label,) = form_labels([field], ())
    return label
