"""Which test shows each row of docs/migrating.md under "Workflows" and "Results"; see celery_rows."""

from __future__ import annotations

FORMS = "tests/acceptance/test_canvas.py"
SIGNATURES = "tests/acceptance/test_canvas_signatures.py"
NESTED = "tests/acceptance/test_canvas_nested.py"
OPTIONS = "tests/acceptance/test_canvas_options.py"
ERRORS = "tests/acceptance/test_canvas_errors.py"
RESULTS = "tests/acceptance/test_canvas_results.py"
GROUPS = "tests/acceptance/test_canvas_groups.py"
VALUES = "tests/unit/client/test_canvas_values.py"
WAITING = "tests/integration/client/test_client_wait.py"

_MADE = f"{SIGNATURES}::test_a_signature_is_made_in_many_ways"
_COPIED = f"{SIGNATURES}::test_new_arguments_go_in_front_and_keywords_over_its_own"
_CALLED = f"{SIGNATURES}::test_a_signature_is_called_in_place_or_waited_for"
_MAPPED = f"{SIGNATURES}::test_maps_and_chunks_go_wherever_calls_go"
_IMMUTABLE = f"{SIGNATURES}::test_an_immutable_signature_takes_nothing"
_ANYWHERE = f"{NESTED}::test_every_form_in_every_other_in_every_other"
_VISITED = f"{OPTIONS}::test_a_visitor_stamps_every_part_by_where_it_stands"
_CHORD_VISITED = f"{OPTIONS}::test_the_body_of_a_chord_has_its_own_stamps"
_STAMPED = f"{OPTIONS}::test_a_later_stamp_replaces_or_joins_an_earlier_one"
_STYLES = f"{ERRORS}::test_error_callbacks_are_called_in_the_style_that_they_are_written_in"
_DRAWN = f"{RESULTS}::test_a_graph_of_results_is_written_for_graphviz"
_VISITS = "on_signature on_group_start on_group_end on_chain_start on_chain_end on_callback on_errback"

WORKFLOWS = {
    **dict.fromkeys(("Signature", "signature", "subtask", "maybe_signature", "from_dict", "s", "reprcall"), _MADE),
    **dict.fromkeys(("clone", "partial", "set", "replace"), _COPIED),
    **dict.fromkeys(("delay", "apply_async", "apply", "__call__", "__invert__"), _CALLED),
    **dict.fromkeys(("si", "immutable", "set_immutable"), _IMMUTABLE),
    "freeze": f"{OPTIONS}::test_what_is_frozen_has_its_ids_and_is_run_once_however_often_it_is_sent",
    "flatten_links": f"{VALUES}::test_links_of_links_are_flattened",
    "countdown": f"{OPTIONS}::test_the_countdown_of_a_part_begins_when_the_one_before_has_ended",
    "eta": f"{OPTIONS}::test_the_eta_of_a_part_is_the_moment_before_which_it_is_not_run",
    "expires": f"{OPTIONS}::test_a_part_that_is_not_started_in_time_takes_what_follows_with_it",
    "link": f"{ERRORS}::test_callbacks_get_the_result_and_may_be_whole_workflows",
    "link_error": f"{ERRORS}::test_an_error_callback_of_a_chain_is_called_once",
    **dict.fromkeys(("on_error", "errback"), _STYLES),
    **dict.fromkeys(("chain", "group", "chord", "__or__"), _ANYWHERE),
    **dict.fromkeys(("map", "starmap", "xmap", "xstarmap", "chunks"), _MAPPED),
    "skew": f"{OPTIONS}::test_a_skewed_group_has_its_starts_spread",
    **dict.fromkeys(("StampingVisitor", *_VISITS.split()), _VISITED),
    **dict.fromkeys(("on_chord_header_start", "on_chord_header_end", "on_chord_body"), _CHORD_VISITED),
    **dict.fromkeys(("stamp", "append_stamps"), _STAMPED),
    **dict.fromkeys(("graph", "to_dot"), _DRAWN),
    "task_allow_error_cb_on_chord_header": f"{ERRORS}"
    "::test_error_callbacks_of_a_chord_are_those_of_its_header_too_if_the_setting_says_so",
}

_ERROR = f"{ERRORS}::test_an_error_has_its_own_class_wherever_it_was_raised"
_KNOWN = f"{RESULTS}::test_a_result_knows_how_its_job_was_run"
_PARENTS = f"{RESULTS}::test_a_result_has_the_one_before_it_as_parent"
_TREE = f"{RESULTS}::test_a_tree_of_results_goes_through_json"
_BELOW = f"{RESULTS}::test_iterdeps_goes_down_level_by_level_and_stops_at_what_is_not_ready"
_COLLECTED = f"{RESULTS}::test_collect_gives_every_result_below_one"
_COUNTED = f"{GROUPS}::test_a_group_says_how_far_it_is"
_IN_ORDER = f"{GROUPS}::test_values_of_a_group_come_in_order_or_as_they_are_ready"
_SET = f"{GROUPS}::test_a_set_of_results_is_waited_for_as_one"
_SAVED = f"{GROUPS}::test_a_group_is_saved_and_found_again"
_ALLOWED = f"{GROUPS}::test_a_job_may_wait_for_others_only_if_it_says_so"
_DETAILS = f"{WAITING}::test_details_of_a_job_are_there"
_STATES = f"{GROUPS}::test_a_group_is_revoked_as_a_whole"

OF_RESULTS = {
    "get": _ERROR,
    "wait": f"{WAITING}::test_a_result_is_pushed_to_the_waiting_caller_and_read_once",
    **dict.fromkeys(("ready", "successful", "failed", "waiting", "completed_count"), _COUNTED),
    **dict.fromkeys(("state", "status", "result", "info", "name", "worker", "date_done", "retries", "queue"), _KNOWN),
    **dict.fromkeys(("args", "kwargs"), _DETAILS),
    "exists": _KNOWN,
    "traceback": "tests/acceptance/test_first_steps.py"
    "::test_a_failure_is_raised_as_its_own_class_and_tells_where_it_happened",
    "maybe_throw": f"{GROUPS}::test_a_group_raises_what_its_member_raised",
    **dict.fromkeys(("parent", "as_list"), _PARENTS),
    **dict.fromkeys(("as_tuple", "result_from_tuple"), _TREE),
    "children": f"{RESULTS}::test_children_are_what_a_job_has_submitted_and_what_followed_on_it",
    "iterdeps": _BELOW,
    **dict.fromkeys(("collect", "get_leaf"), _COLLECTED),
    "build_graph": _DRAWN,
    "forget": f"{RESULTS}::test_forgetting_a_result_forgets_its_parents",
    "revoke": _STATES,
    "revoke_by_stamped_headers": f"{OPTIONS}::test_a_workflow_is_found_and_cancelled_by_its_stamps",
    **dict.fromkeys(("ResultSet", "add", "remove", "discard", "update", "clear"), _SET),
    **dict.fromkeys(("iterate", "join", "join_native", "iter_native"), _IN_ORDER),
    **dict.fromkeys(("GroupResult", "save", "restore", "delete"), _SAVED),
    "EagerResult": f"{NESTED}::test_every_form_gives_the_same_in_place",
    **dict.fromkeys(("allow_join_result", "denied_join_result"), _ALLOWED),
    "states": _STATES,
    "then": "tests/integration/client/test_client_then.py::test_a_callback_gets_the_result_once_it_has_ended",
}
