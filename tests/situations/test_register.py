"""The register of situations of the field: what has lost, doubled or held back work in other systems.

Each situation has a name and the tests that show the right outcome here. Some stand in this directory, and the others
where the part that decides them is tested.
"""

from __future__ import annotations

import ast
from functools import cache

from tests.guards.sources import ROOT

CHANGES, PICTURES = "tests/situations/test_changes.py", "tests/situations/test_pictures.py"
UPLOADS, MULTIPART = "tests/attachments/test_upload.py", "tests/attachments/test_multipart.py::TestOneFile"
IMAGES = "tests/attachments/storage/test_images.py"
BODY, CONNECTIONS = "tests/http/test_body.py", "tests/serving/test_bad_connections.py"
PATIENCE = "tests/serving/test_patience.py"
FORM_FILLS, VERSIONS = "tests/plugins/test_form_fills.py", "tests/core/sync/test_unknown_versions.py"
BOUNDS, TEMPLATES = "tests/core/sync/test_bounds.py", "tests/api/test_form_templates.py"
TUS = "plugins/resumable_uploads/tests/test_protocol.py"

#: Situation -> its tests.
SITUATIONS: dict[str, list[str]] = {
    # Work that was lost, doubled, altered in silence, or stuck for ever.
    "token_expired_under_a_photo": [
        f"{CONNECTIONS}::test_an_answer_before_the_body_was_read_arrives_over_a_slow_line",
        f"{PATIENCE}::test_the_rest_of_a_request_is_read_so_that_its_answer_arrives",
    ],
    "video_over_the_limit": [
        f"{CONNECTIONS}::test_an_answer_before_the_body_was_read_arrives_over_a_slow_line",
        f"{PATIENCE}::test_no_more_than_the_limit_is_read_after_an_answer",
        f"{UPLOADS}::TestLimits::test_a_photo_over_the_limit_is_413",
    ],
    "two_photos_in_one_request": [
        f"{MULTIPART}::test_more_than_one_file_or_one_of_another_name_is_400_and_stores_none"
    ],
    "device_clock_ahead": [
        f"{CHANGES}::test_a_device_whose_clock_is_ahead_overwrites_no_form",
        f"{CHANGES}::test_a_device_whose_clock_is_ahead_overwrites_no_inspection",
    ],
    "stale_signature_delete": [
        "tests/plugins/test_signatures.py::test_a_named_signature_is_deleted_and_one_made_since_is_left_alone"
    ],
    "stale_photo_delete": [
        f"{PICTURES}::test_a_photo_deleted_by_name_stays_deleted_and_one_that_was_added_meanwhile_stays"
    ],
    "poison_item": [
        f"{BODY}::test_a_value_that_cannot_be_kept_is_refused_for_its_item_only",
        f"{BODY}::TestBothReaders::test_a_number_that_is_none_is_no_json",
    ],
    "slow_network": [
        f"{PATIENCE}::test_a_body_may_take_as_long_as_it_likes_while_it_comes",
        f"{PATIENCE}::test_a_body_below_the_least_rate_ends",
    ],
    "composed_and_decomposed_names": [
        f"{FORM_FILLS}::test_a_field_is_one_field_in_nfc_and_nfd",
        f"{FORM_FILLS}::test_a_new_form_fill_keeps_names_in_nfc",
        f"{TEMPLATES}::test_names_are_kept_in_nfc_and_so_are_unique",
        "tests/plugins/test_photos.py::test_a_field_is_one_field_in_nfc_and_nfd",
        "tests/api/test_attachments.py::test_a_field_is_one_field_in_nfc_and_nfd",
    ],
    "jpeg_without_its_end": [
        f"{PICTURES}::test_a_photo_with_all_its_pixels_is_stored_whatever_stands_in_place_of_its_end_mark",
        f"{PICTURES}::test_a_photo_that_was_cut_in_the_middle_is_refused_and_can_be_sent_whole",
    ],
    # Unclear answers and needless refusals.
    "local_ids_start_again": [
        f"{CHANGES}::test_counted_ids_that_begin_again_after_a_reinstall_are_new_work",
        f"{CHANGES}::test_without_a_device_id_counted_ids_that_begin_again_are_taken_for_retries",
    ],
    "photo_before_its_create": [
        f"{UPLOADS}::test_an_unknown_client_id_is_404_and_worth_a_retry_because_its_create_may_be_on_the_way",
        f"{CHANGES}::test_children_that_come_before_their_parent_are_kept_and_applied_when_they_are_sent_again",
    ],
    "large_forms": [
        f"{TEMPLATES}::test_the_largest_form_template_is_taken",
        f"{TEMPLATES}::TestSmallTemplates::test_a_larger_template_is_refused_with_the_limit",
    ],
    "answer_to_a_stale_backlog": [
        f"{BOUNDS}::test_many_stale_items_for_one_large_form_take_little_memory_and_get_a_small_answer"
    ],
    "milliseconds_dropped": [
        f"{CHANGES}::test_a_developer_whose_dates_drop_the_milliseconds_is_told_on_the_first_day",
        f"{VERSIONS}::test_milliseconds_dropped_are_noticed_on_the_first_day",
    ],
    "same_change_after_reinstall": [
        f"{CHANGES}::test_a_queue_that_a_reinstalled_app_sends_once_more_has_nothing_to_decide"
    ],
    "composed_and_decomposed_answers": [f"{FORM_FILLS}::test_the_same_text_in_nfc_and_nfd_is_no_conflict"],
    "multipart_without_boundary": [
        "tests/attachments/test_multipart.py::TestBroken::test_a_content_type_without_a_boundary_that_can_be_read"
    ],
    "heic_named_jpg": [f"{PICTURES}::test_a_file_that_is_called_jpg_and_is_none_is_named_with_what_to_do"],
    "many_pixels": [f"{PICTURES}::test_a_photo_of_too_many_pixels_is_told_so_and_not_that_it_has_too_many_bytes"],
    "byte_order_mark": [f"{BODY}::test_a_batch_with_a_byte_order_mark_is_taken"],
    "sync_complete_though_it_failed": [
        f"{CHANGES}::test_a_batch_of_which_nothing_was_applied_says_so_beside_its_success"
    ],
    "follower_of_a_refused_create": [
        f"{VERSIONS}::test_what_follows_a_refused_create_need_not_be_sent_again",
        f"{VERSIONS}::test_what_comes_before_its_create_is_sent_again",
    ],
    # Situations in which nothing may go wrong.
    "user_deactivated_with_work_queued": [
        f"{CHANGES}::test_work_that_was_queued_while_its_user_was_deactivated_is_applied_afterwards"
    ],
    "taken_off_the_job_before_reconnecting": [
        f"{CHANGES}::test_work_on_an_inspection_that_went_to_somebody_else_waits_until_it_comes_back"
    ],
    "work_on_a_deleted_inspection": [
        f"{CHANGES}::test_work_on_a_deleted_inspection_is_set_aside_and_holds_back_nothing"
    ],
    "work_on_a_row_made_here_and_deleted_since": [
        f"{CHANGES}::test_work_on_a_row_that_was_made_here_and_deleted_since_is_not_kept_for_ever",
        f"{VERSIONS}::test_what_names_a_deleted_row_by_its_client_id_need_not_be_sent_again",
    ],
    "two_devices_one_field": [f"{CHANGES}::test_a_list_that_two_people_have_changed_is_never_spliced"],
    "form_changed_while_answers_are_queued": [
        f"{CHANGES}::test_answers_to_a_form_that_the_office_has_replaced_are_kept_with_their_structure"
    ],
    "one_failure_among_good_work": [
        f"{CHANGES}::test_two_refused_items_leave_the_two_others_applied_and_are_found_by_their_index"
    ],
    "ten_copies": [f"{CHANGES}::test_a_create_and_its_photo_that_are_sent_ten_times_make_one_form_and_one_photo"],
    "children_before_parents": [
        f"{CHANGES}::test_children_that_come_before_their_parent_are_kept_and_applied_when_they_are_sent_again"
    ],
    "half_an_emoji": [f"{CHANGES}::test_half_an_emoji_refuses_its_item_and_an_odd_line_break_is_kept"],
    "errors_without_cors_headers": [f"{CHANGES}::TestInABrowser::test_every_error_can_be_read_and_not_only_answers"],
    "two_signatures_at_once": [f"{PICTURES}::test_two_signatures_at_once_are_both_stored"],
    "late_retry_of_an_old_signature": [f"{UPLOADS}::test_a_replaced_signature_is_not_revived_by_a_retry"],
    "one_photo_for_two_fields": [f"{PICTURES}::test_one_photo_may_stand_in_two_fields"],
    "portrait_photo": [
        f"{PICTURES}::test_a_portrait_photo_is_upright_in_its_thumbnail_and_untouched_in_its_original",
        f"{IMAGES}::test_a_thumbnail_is_upright_in_every_exif_orientation",
    ],
    "pictures_of_rare_kinds": [
        f"{PICTURES}::test_a_picture_of_a_rare_kind_is_stored_and_has_a_thumbnail_in_its_colours",
        f"{IMAGES}::test_every_kind_of_jpeg_and_png_is_taken_with_its_size",
        f"{IMAGES}::test_a_photo_with_damaged_exif_data_is_taken_and_has_a_thumbnail",
        f"{IMAGES}::test_a_png_is_judged_by_its_pixels",
        f"{IMAGES}::test_the_colours_of_print_keep_their_look",
        f"{IMAGES}::test_sixteen_bits_of_grey_keep_their_brightness",
    ],
    "upload_of_a_browser": [f"{TUS}::test_a_page_of_a_named_origin_may_upload_and_read_the_answers"],
    "token_dead_during_a_resumable_upload": [
        f"{TUS}::test_nobody_gets_anywhere_without_a_token",
        "tests/outsider/test_resumable_uploads.py::test_a_photo_on_its_way_is_neither_lost_nor_doubled",
    ],
    "client_that_asks_before_it_sends": [
        f"{CONNECTIONS}::test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on"
    ],
    "chunked_body": ["tests/serving/test_gunicorn.py::test_a_chunked_body_within_the_limit_is_read_whole"],
    "file_names_of_all_kinds": [
        "tests/attachments/test_multipart.py::TestFileNames::test_a_file_name_is_shown_as_it_was_meant"
    ],
    "capitals_and_blanks": [
        "tests/accounts/test_tokens.py::test_an_email_is_found_in_any_case",
        "tests/accounts/test_tokens.py::test_a_token_counts_in_its_header_alone_and_its_scheme_in_any_case",
        "tests/api/test_attachments.py::test_each_photo_is_stored_missing_or_deleted",
    ],
}


@cache
def names_in(path: str) -> set[str]:
    """The tests of a file, those of its classes as `Class::test`."""
    found = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {prefix + each.name for each in inner if isinstance(each, ast.FunctionDef)}
    return {name for name in found if name.rpartition("::")[2].startswith("test_")}


REGISTERED = {test for tests in SITUATIONS.values() for test in tests}


def test_every_situation_has_its_tests() -> None:
    assert all(SITUATIONS.values())
    places = {test: test.split("::", 1) for test in REGISTERED}
    assert [test for test, (path, name) in places.items() if name not in names_in(path)] == []


def test_every_test_of_this_directory_has_its_situation() -> None:
    assert {f"{path}::{name}" for path in (CHANGES, PICTURES) for name in names_in(path)} <= REGISTERED
