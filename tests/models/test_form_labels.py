"""The labels of a form's values, from its template's structure and from the rows that a device has repeated."""

from __future__ import annotations

from typing import Any

from app.models.form_labels import form_labels, readable

STRUCTURE: list[dict[str, Any]] = [
    {"name": "Location_row_1", "type": "text", "label_name": "Location", "section_name": "Risers"},
    {
        "name": "Pressure_row_1",
        "type": "number",
        "label_name": "Static pressure",
        "section_name": "Risers",
        "unit": "psi",
    },
    {"name": "Photo_row_1", "type": "photo", "section_name": "Risers"},
    {"name": "Valve", "type": "select", "options": ["open", {"value": "c", "label": "closed"}, None]},
    {"name": "When", "type": "date", "label_name": None},
    {"name": "Odd", "type": "hologram"},
    {"name": "Signature", "type": "signature", "section_name": "Closing"},
]


def names(*data: str) -> list[str]:
    return [label.name for label in form_labels(STRUCTURE, data)]


OWN = [
    "Location_row_1",
    "Pressure_row_1",
    "Photo_row_1_photo_attachment_id",
    "Valve",
    "When",
    "Odd",
    "Signature_signature_attachment_id",
]


def test_the_labels_of_a_structure_stand_in_its_order() -> None:
    labels = form_labels(STRUCTURE, ["Signature_signature_attachment_id", "Location_row_1"])
    assert [label.name for label in labels] == OWN
    assert [label.kind for label in labels] == ["text", "number", "photo", "choice", "date", "text", "signature"]
    assert [label.label for label in labels][:4] == ["Location", "Static pressure", "Photo", "Valve"]
    assert (labels[1].unit, labels[1].section, labels[4].label) == ("psi", "Risers", "When")
    assert labels[3].options == [("open", "open"), ("c", "closed"), (None, "None")]


def test_further_rows_have_the_labels_of_the_first_one_row_by_row() -> None:
    sent = ["Photo_row_2_photo_attachment_id", "Pressure_row_10", "Location_row_10", "Pressure_row_2", "Location_row_2"]
    labels = form_labels(STRUCTURE, sent)[len(OWN) :]
    assert [label.name for label in labels] == [
        "Location_row_2",
        "Pressure_row_2",
        "Photo_row_2_photo_attachment_id",
        "Location_row_10",
        "Pressure_row_10",
    ]
    assert [(label.label, label.section, label.kind) for label in labels[:3]] == [
        ("Location", "Risers 2", "text"),
        ("Static pressure", "Risers 2", "number"),
        ("Photo", "Risers 2", "photo"),
    ]


def test_values_that_the_structure_does_not_know_stand_last_under_their_own_names() -> None:
    assert names("note", "Valve_row_2", "Roof_photo_attachment_id", "Location_row_3") == [
        *OWN,
        "Location_row_3",
        "note",
        "Valve_row_2",
        "Roof_photo_attachment_id",
    ]
    (roof,) = [label for label in form_labels(STRUCTURE, ["Roof_photo_attachment_id"]) if label.label == "Roof"]
    assert roof.kind == "photo"


def test_a_name_becomes_words() -> None:
    assert [readable(name) for name in ("static_pressure", "_", "x", "ÄB_c")] == ["Static pressure", "_", "X", "ÄB c"]
