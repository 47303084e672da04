"""Which test shows each row of docs/migrating.md that works or is adapted, by section and name.

Where several tests do, the one that is nearest to a user: with a real broker and worker, if there is one.
"""

from __future__ import annotations

OPTIONS = "tests/acceptance/test_celery_options.py"
TIME = "tests/acceptance/test_time.py"
RETRIES = "tests/acceptance/test_retries.py"
LIMITS = "tests/acceptance/test_run_limits.py"
POISON = "tests/acceptance/test_poison.py"
INSIDE = "tests/acceptance/test_inside.py"
LANES = "tests/contracts/test_engine_lanes.py"
TRAITS = "tests/integration/test_client_traits.py"

_SHARED = {
    "ignore_result": f"{OPTIONS}::test_an_ignored_result_is_none_and_its_state_is_kept",
    "queue": f"{INSIDE}::test_a_job_knows_its_call",
    "serializer": f"{OPTIONS}::test_values_come_through_every_serializer_as_they_were",
    "expires": f"{TIME}::test_a_job_that_is_not_started_in_time_expires",
    "time_limit": f"{LIMITS}::test_a_job_over_its_hard_limit_fails_and_runs_its_hooks",
    "soft_time_limit": f"{LIMITS}::test_a_job_over_its_soft_limit_cleans_up_and_returns",
    "result_expires": f"{OPTIONS}::test_a_result_is_kept_as_long_as_its_task_or_call_says",
    "ordering_key": f"{LANES}::test_jobs_with_one_key_run_one_at_a_time_in_their_order",
    "tenant": f"{LANES}::test_tenants_of_equal_weight_get_equally_many_jobs",
    "limits": f"{TRAITS}::test_every_trait_arrives_at_the_broker",
    "requires": f"{LANES}::test_a_job_goes_to_a_worker_that_has_all_its_labels",
    "unique_for": "tests/contracts/test_engine_unique.py::test_a_key_for_a_time_is_held_whatever_becomes_of_the_job",
    "unique_until": f"{TRAITS}::test_a_second_job_with_the_same_arguments_is_refused_and_names_the_first",
    "unique_on_conflict": f"{TRAITS}::test_a_waiting_job_is_replaced_when_asked_for",
    "unique_key": f"{TRAITS}::test_a_chosen_key_stands_for_the_arguments_and_the_order_of_keywords_does_not_matter",
    "priority": f"{LANES}::test_priority_goes_before_turns",
    "compression": f"{OPTIONS}::test_what_is_too_large_may_fit_compressed",
    "exchange": f"{OPTIONS}::test_a_routing_key_finds_its_queue",
    "routing_key": f"{OPTIONS}::test_a_routing_key_finds_its_queue",
}
_HOOKS = {
    "before_start": f"{RETRIES}::test_hooks_of_a_job_that_succeeds_at_last",
    "on_success": f"{RETRIES}::test_hooks_of_a_job_that_succeeds_at_last",
    "on_retry": f"{RETRIES}::test_hooks_of_a_job_that_fails_at_last",
    "on_failure": f"{RETRIES}::test_hooks_of_a_job_that_fails_at_last",
    "after_return": f"{RETRIES}::test_hooks_of_a_job_that_fails_at_last",
}
_ACKNOWLEDGED = f"{OPTIONS}::test_the_words_for_acknowledgements_mean_what_is_always_so"
_BY_ITSELF = f"{RETRIES}::test_named_exceptions_are_retried_with_a_growing_pause"
_BOUNDS = f"{RETRIES}::test_the_pause_and_the_number_of_retries_have_their_bounds"
_MODELS = "tests/unit/client/test_client_models.py::test_strictness_context_and_the_dump_are_options"
_CALLS = f"{OPTIONS}::test_many_ways_to_call"
_CATCH = "tests/conventions/test_migrating.py::test_exceptions_can_be_imported_by_the_names_of_the_table"

ROWS: dict[str, dict[str, str]] = {
    "Options of a task": {
        **_SHARED,
        **dict.fromkeys(_HOOKS, f"{OPTIONS}::test_hooks_may_be_functions"),
        "name": f"{OPTIONS}::test_name_base_and_bind",
        "bind": f"{OPTIONS}::test_name_base_and_bind",
        "base": f"{OPTIONS}::test_name_base_and_bind",
        "typing": f"{OPTIONS}::test_typing_compares_arguments_before_they_are_sent_unless_switched_off",
        "max_retries": f"{RETRIES}::test_retries_for_ever",
        "default_retry_delay": f"{RETRIES}::test_every_attempt_is_kept_with_worker_times_error_and_traceback",
        "autoretry_for": _BY_ITSELF,
        "dont_autoretry_for": f"{RETRIES}::test_exceptions_carved_out_are_not_retried",
        "retry_kwargs": _BOUNDS,
        "retry_backoff": _BY_ITSELF,
        "retry_backoff_max": _BOUNDS,
        "retry_jitter": "tests/unit/client/test_client_retrying.py"
        "::test_backoff_doubles_up_to_its_most_and_jitter_draws_below_it",
        "throws": f"{RETRIES}::test_an_expected_exception_fails_the_job_in_one_line_of_the_log",
        "shadow_name": f"{OPTIONS}::test_the_name_to_show_is_worked_out_or_given",
        "max_concurrency": "tests/contracts/test_engine_limits.py::test_no_more_than_a_limit_admits_run_at_once",
        "acks_on_failure_or_timeout": _ACKNOWLEDGED,
        "acks_on_failure": _ACKNOWLEDGED,
        "acks_on_timeout": _ACKNOWLEDGED,
        "rate_limit": "tests/contracts/test_engine_rates.py::test_a_rate_is_used_to_within_two_percent_over_a_minute",
        "acks_late": f"{POISON}::test_a_job_that_is_to_run_at_most_once_is_not_run_again",
        "reject_on_worker_lost": _ACKNOWLEDGED,
        "track_started": _ACKNOWLEDGED,
        "resultrepr_maxsize": f"{OPTIONS}::test_the_log_shows_as_much_of_a_result_as_its_task_says",
        "store_errors_even_if_ignored": f"{OPTIONS}::test_a_failure_is_kept_although_its_result_would_be_ignored",
        "send_events": f"{OPTIONS}::test_a_failure_is_kept_although_its_result_would_be_ignored",
        "pydantic": f"{OPTIONS}::test_models_go_in_and_come_out",
        **dict.fromkeys(("pydantic_strict", "pydantic_context", "pydantic_dump_kwargs"), _MODELS),
    },
    "Methods of a task": {
        **_HOOKS,
        "delay": _CALLS,
        "apply_async": _CALLS,
        "__call__": _CALLS,
        "apply": _CALLS,
        "retry": f"{RETRIES}::test_every_attempt_is_kept_with_worker_times_error_and_traceback",
        "update_state": f"{INSIDE}::test_state_and_progress_are_seen_while_the_job_runs",
        "send_event": f"{OPTIONS}::test_an_event_of_a_task_is_in_the_log",
        "request": f"{INSIDE}::test_a_job_knows_its_call",
        "add_around": "tests/unit/client/test_client_models.py::test_a_method_can_be_wrapped",
        "push_request": "tests/unit/client/test_client_hooks.py::test_a_pushed_request_is_the_one_a_task_sees",
        "pop_request": "tests/unit/client/test_client_hooks.py::test_a_pushed_request_is_the_one_a_task_sees",
        "progress": f"{INSIDE}::test_state_and_progress_are_seen_while_the_job_runs",
        "checkpoint": f"{INSIDE}::test_a_job_that_is_killed_goes_on_from_its_last_checkpoint",
    },
    "Exceptions": {
        **dict.fromkeys(("ChordError", "InvalidTaskError", "IncompleteStream", "SecurityError"), _CATCH),
        **dict.fromkeys(("BackendGetMetaError", "BackendStoreError", "WorkerShutdown", "WorkerTerminate"), _CATCH),
        "Retry": "tests/unit/worker/test_worker_endings.py::test_a_retry_raised_by_hand_counts",
        "Ignore": f"{RETRIES}::test_an_ignored_job_is_over_without_a_value",
        "Reject": f"{RETRIES}::test_a_job_that_puts_itself_back_runs_again_and_is_not_a_retry",
        "MaxRetriesExceededError": f"{RETRIES}::test_without_a_reason_too_many_retries_are_the_reason",
        "TaskRevokedError": f"{TIME}::test_a_job_that_is_not_started_in_time_expires",
        "SoftTimeLimitExceeded": f"{LIMITS}::test_a_soft_limit_that_the_task_does_not_mind_fails_the_job",
        "TimeLimitExceeded": f"{LIMITS}::test_a_worker_ends_jobs_that_name_no_limit",
        "WorkerLostError": f"{POISON}::test_a_job_that_kills_its_process_is_quarantined_with_signal_and_memory",
        "NotRegistered": "tests/unit/client/test_client_app.py::test_the_registry_finds_tasks_and_names_the_nearest",
        "AlreadyRegistered": "tests/unit/client/test_client_app.py"
        "::test_a_function_defined_again_replaces_its_former_self_but_another_may_not_take_its_name",
        "TimeoutError": "tests/acceptance/test_first_steps.py::test_get_gives_up_at_its_timeout_and_the_job_goes_on",
        "OperationalError": "tests/acceptance/test_first_steps.py"
        "::test_a_call_to_a_broker_that_is_away_ends_within_its_deadline",
        "QueueNotFound": "tests/unit/client/test_client_routing.py"
        "::test_an_unknown_queue_is_refused_where_only_named_ones_are_allowed",
        "ImproperlyConfigured": "tests/acceptance/test_cli.py"
        "::test_a_url_of_another_broker_is_answered_with_what_to_write",
        "RemoteError": f"{RETRIES}::test_after_the_last_retry_the_reason_is_raised",
        "NotUniqueError": f"{TRAITS}::test_a_second_job_with_the_same_arguments_is_refused_and_names_the_first",
        "QueueFull": f"{TRAITS}::test_a_full_queue_is_an_error_of_its_own",
    },
    "Options of a call": {
        **_SHARED,
        "args": _CALLS,
        "kwargs": _CALLS,
        "countdown": f"{TIME}::test_every_way_to_write_a_moment_is_that_moment_and_no_earlier",
        "eta": f"{TIME}::test_every_way_to_write_a_moment_is_that_moment_and_no_earlier",
        "headers": f"{OPTIONS}::test_headers_and_stamps_as_in_celery",
        "shadow": f"{OPTIONS}::test_the_name_to_show_is_worked_out_or_given",
        "stamps": f"{INSIDE}::test_a_job_knows_its_call",
        "stamped_headers": f"{OPTIONS}::test_headers_and_stamps_as_in_celery",
        "idempotency_key": f"{TRAITS}::test_an_idempotency_key_makes_the_same_call_the_same_job",
        "task_id": f"{OPTIONS}::test_the_same_id_is_the_same_job_and_not_another",
        "retry": f"{OPTIONS}::test_a_policy_says_how_long_a_submit_is_tried",
        "retry_policy": f"{OPTIONS}::test_a_policy_says_how_long_a_submit_is_tried",
    },
}
