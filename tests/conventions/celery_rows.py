"""Which test shows each row of docs/migrating.md that works or is adapted, by section and name.

Where several tests do, the one that is nearest to a user: with a real broker and worker, if there is one.
"""

from __future__ import annotations

from tests.conventions.workflow_rows import OF_RESULTS, WORKFLOWS

OPTIONS = "tests/acceptance/test_celery_options.py"
CANVAS = "tests/acceptance/test_canvas.py"
FROM_INSIDE = "tests/acceptance/test_canvas_inside.py"
PLACES = "tests/acceptance/test_workflow_worker.py"
TIME = "tests/acceptance/test_time.py"
RETRIES = "tests/acceptance/test_retries.py"
LIMITS = "tests/acceptance/test_run_limits.py"
POISON = "tests/acceptance/test_poison.py"
INSIDE = "tests/acceptance/test_inside.py"
LANES = "tests/contracts/test_engine_lanes.py"
TRAITS = "tests/integration/test_client_traits.py"
CONFIG = "tests/unit/client/test_client_config.py"
PROGRAMS = "tests/acceptance/test_programs.py"
SETTINGS = "tests/unit/client/test_client_settings.py"
ROUTING = "tests/unit/client/test_client_routing.py"
MANIFEST = "tests/unit/worker/test_worker_manifest.py"
COMMANDS = "tests/unit/worker/test_worker_commands.py"
FIELDS = "tests/unit/client/test_client_schedules.py"
FIRING = "tests/acceptance/test_schedules.py"
BEAT = "tests/acceptance/test_celery_schedules.py"
SCHEDULES = "tests/unit/client/test_client_declared.py"
FLAGS = "tests/unit/worker/test_worker_flags.py"
LOGS = "tests/integration/worker/test_worker_logs.py"
DAEMON = "tests/integration/worker/test_worker_daemon.py"

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
_TOLD = (
    "task_time_limit task_soft_time_limit worker_concurrency worker_max_tasks_per_child worker_max_memory_per_child "
)
_TOLD += "worker_pool worker_prefetch_multiplier"
_ALWAYS = "task_track_started task_acks_on_failure_or_timeout task_acks_on_failure task_acks_on_timeout "
_ALWAYS += "task_reject_on_worker_lost"
_POLICY = f"{OPTIONS}::test_a_policy_says_how_long_a_submit_is_tried"
_OF_RESULTS = "tests/unit/client/test_client_options.py::test_settings_say_what_becomes_of_results"
_ALLOWED = f"{CONFIG}::test_a_value_that_is_not_allowed_is_refused_with_what_is"
_COMPRESSED = (
    "tests/unit/client/test_client_compression.py::test_the_compression_of_task_call_or_app_stands_in_the_format"
)
_BY_DEFAULT = "tests/unit/client/test_client_options.py::test_the_call_wins_over_the_task_over_the_app"
_FORMATS = f"{LOGS}::test_formats_are_those_of_the_settings_and_handlers_of_the_app_go_or_stay"
_FLAGS = "-q -Q -I -L --label --prefetch-multiplier --disable-prefetch --time-limit --soft-time-limit --executable "
_FLAGS += "--max-tasks-per-child --max-memory-per-child --discard"
_DETACHED = "-D --detach -f --logfile --pidfile --uid --gid --umask --workdir"
_PURGED = "test_what_waits_is_cancelled_before_the_first_job_if_asked_for"
_RUNS = f"{DAEMON}::test_jobs_run_and_their_outcomes_come_back"

_CRONTABS = f"{BEAT}::test_both_days_of_a_crontab_must_match"
_DECLARED = f"{BEAT}::test_all_that_the_app_declares_is_in_the_broker"
_ITS_TASK = "its_task_with_its_arguments_and_options"
_ADDED = f"{FIRING}::test_a_program_adds_a_schedule_and_looks_after_it"
_LATER = f"{TIME}::test_every_way_to_write_a_moment_is_that_moment_and_no_earlier"
_ENTRY_OPTIONS = f"{SCHEDULES}::test_options_of_an_entry_reach_the_broker"

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
        "on_replace": f"{FROM_INSIDE}::test_what_replaces_a_job_gives_its_value",
        "trail": f"{PLACES}::test_a_job_is_kept_with_what_its_body_has_submitted",
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
        **{name: WORKFLOWS[name] for name in ("s", "si", "signature", "subtask", "chunks", "map", "starmap")},
        "replace": f"{FROM_INSIDE}::test_what_replaces_a_job_gives_its_value",
        "on_replace": f"{FROM_INSIDE}::test_what_replaces_a_job_gives_its_value",
        "add_to_chord": f"{FROM_INSIDE}::test_what_is_added_to_a_chord_comes_last",
        "add_around": "tests/unit/client/test_client_models.py::test_a_method_can_be_wrapped",
        "push_request": "tests/unit/client/test_client_hooks.py::test_a_pushed_request_is_the_one_a_task_sees",
        "pop_request": "tests/unit/client/test_client_hooks.py::test_a_pushed_request_is_the_one_a_task_sees",
        "progress": f"{INSIDE}::test_state_and_progress_are_seen_while_the_job_runs",
        "checkpoint": f"{INSIDE}::test_a_job_that_is_killed_goes_on_from_its_last_checkpoint",
    },
    "Exceptions": {
        "ChordError": f"{CANVAS}::test_a_chord_that_breaks_names_the_member_and_tells_once",
        **dict.fromkeys(("InvalidTaskError", "IncompleteStream", "SecurityError"), _CATCH),
        **dict.fromkeys(("BackendGetMetaError", "BackendStoreError", "WorkerShutdown", "WorkerTerminate"), _CATCH),
        "Retry": "tests/unit/worker/test_worker_endings.py::test_a_retry_raised_by_hand_counts",
        "Ignore": f"{RETRIES}::test_an_ignored_job_is_over_without_a_value",
        "Reject": f"{RETRIES}::test_a_job_that_puts_itself_back_runs_again_and_is_not_a_retry",
        "MaxRetriesExceededError": f"{RETRIES}::test_without_a_reason_too_many_retries_are_the_reason",
        "TaskRevokedError": f"{TIME}::test_a_job_that_is_not_started_in_time_expires",
        "SoftTimeLimitExceeded": f"{LIMITS}::test_a_soft_limit_that_the_task_does_not_mind_fails_the_job",
        "TimeLimitExceeded": f"{LIMITS}::test_a_worker_ends_jobs_that_name_no_limit",
        "WorkerLostError": f"{POISON}::test_a_job_that_ends_its_process_is_quarantined_with_cause_and_memory",
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
        "link": f"{CANVAS}::test_what_is_linked_is_called_with_the_result",
        "link_error": f"{CANVAS}::test_errors_are_told_of_once_in_the_way_that_is_asked_for",
        "idempotency_key": f"{TRAITS}::test_an_idempotency_key_makes_the_same_call_the_same_job",
        "add_to_parent": f"{PLACES}::test_a_job_is_kept_with_what_its_body_has_submitted",
        "task_id": f"{OPTIONS}::test_the_same_id_is_the_same_job_and_not_another",
        "retry": f"{OPTIONS}::test_a_policy_says_how_long_a_submit_is_tried",
        "retry_policy": f"{OPTIONS}::test_a_policy_says_how_long_a_submit_is_tried",
    },
    "Routing": {
        "Queue": f"{PROGRAMS}::test_a_script_is_a_worker_and_gives_queues_the_bounds_that_nobody_has_given_them",
        "Exchange": f"{ROUTING}::test_an_exchange_and_a_routing_key_find_the_queue_that_names_them",
        "task_routes": "tests/acceptance/test_routing.py::test_routes_choose_the_queue",
        "task_create_missing_queues": f"{ROUTING}::test_an_unknown_queue_is_refused_where_only_named_ones_are_allowed",
        "add_consumer": "tests/acceptance/test_control.py::test_a_queue_is_taken_and_let_go_at_run_time",
        "cancel_consumer": "tests/acceptance/test_control.py::test_a_queue_is_taken_and_let_go_at_run_time",
    },
    "Settings": {
        "task_allow_error_cb_on_chord_header": WORKFLOWS["task_allow_error_cb_on_chord_header"],
        **dict.fromkeys(_TOLD.split(), f"{MANIFEST}::test_settings_for_workers_are_told_as_they_are"),
        **dict.fromkeys(_ALWAYS.split(), _ACKNOWLEDGED),
        **dict.fromkeys(("task_publish_retry", "task_publish_retry_policy"), _POLICY),
        **dict.fromkeys(("timezone", "enable_utc"), f"{SETTINGS}::test_the_app_knows_its_zone_and_the_time_there"),
        **dict.fromkeys(("imports", "include"), f"{SETTINGS}::test_modules_are_imported_when_a_worker_loads"),
        **dict.fromkeys(("accept_content", "submit_timeout", "request_timeout"), _ALLOWED),
        **dict.fromkeys(("task_default_priority", "task_default_queue", "task_serializer"), _BY_DEFAULT),
        **dict.fromkeys(("result_serializer", "task_ignore_result", "result_compression"), _OF_RESULTS),
        "result_expires": _BY_DEFAULT,
        "result_backend": f"{CONFIG}::test_results_are_where_the_broker_is_and_nowhere_else",
        "task_compression": _COMPRESSED,
        **dict.fromkeys(("worker_log_format", "worker_task_log_format", "worker_hijack_root_logger"), _FORMATS),
        "worker_redirect_stdouts_level": _FORMATS,
        "worker_log_color": "tests/unit/worker/test_worker_loglook.py::test_colors_are_by_level",
        "worker_redirect_stdouts": f"{LOGS}::test_an_app_may_leave_what_is_printed_as_it_is",
        "worker_direct": f"{LOGS}::test_an_app_says_which_queues_are_taken_from_and_whether_commands_are",
        "worker_enable_remote_control": f"{COMMANDS}::test_what_the_app_has_switched_off_is_refused",
        "worker_pool_restarts": f"{COMMANDS}::test_what_the_app_has_switched_off_is_refused",
        "worker_soft_shutdown_timeout": f"{LOGS}::test_what_runs_has_its_time_after_the_second_signal",
        "worker_proc_alive_timeout": f"{LOGS}::test_a_child_that_hangs_while_it_loads_the_app_is_replaced",
        "worker_disable_rate_limits": f"{MANIFEST}::test_the_rates_of_a_task_are_its_own_or_the_apps",
        "task_default_rate_limit": f"{MANIFEST}::test_the_rates_of_a_task_are_its_own_or_the_apps",
        "task_acks_late": f"{MANIFEST}::test_a_setting_that_comes_later_reaches_tasks_that_are_there",
        "strict_typing": "tests/unit/client/test_client_app.py"
        "::test_the_check_can_be_switched_off_for_a_task_or_the_app",
        "task_annotations": f"{SETTINGS}::test_annotations_win_over_the_code_before_and_after_the_task_is_made",
        "task_always_eager": f"{SETTINGS}::test_always_eager_runs_every_call_here",
        "task_eager_propagates": f"{SETTINGS}::test_an_eager_error_is_raised_at_once_when_asked_for",
        "task_queues": f"{MANIFEST}::test_a_worker_takes_the_queues_of_its_app_unless_told_otherwise",
        "task_routes": "tests/acceptance/test_routing.py::test_routes_of_the_app_itself_are_used_by_its_tasks",
        "task_inherit_parent_priority": f"{ROUTING}::test_a_child_gets_its_parents_priority_when_asked_to",
        "task_create_missing_queues": f"{ROUTING}::test_an_unknown_queue_is_refused_where_only_named_ones_are_allowed",
        "task_store_errors_even_if_ignored": f"{OPTIONS}::test_a_failure_is_kept_although_its_result_would_be_ignored",
        "task_remote_tracebacks": "tests/acceptance/test_first_steps.py"
        "::test_a_failure_is_raised_as_its_own_class_and_tells_where_it_happened",
        "result_extended": "tests/acceptance/test_cli_operator.py"
        "::test_a_dead_letter_is_shown_with_its_attempts_and_redriven_with_other_arguments",
        "task_send_sent_event": "tests/acceptance/test_cli_operator.py::test_events_go_on_behind_the_last_one_seen",
        "beat_schedule": f"{FIRING}::test_an_entry_of_beat_schedule_fires_each_second_once",
        "beat_cron_starting_deadline": f"{BEAT}::test_a_crontab_has_the_deadline_of_the_app",
        "broker_url": f"{CONFIG}::test_the_url_comes_from_the_argument_then_the_environment_then_the_default",
    },
    "Periodic tasks": {
        **dict.fromkeys(("crontab", "minute", "hour", "day_of_week", "day_of_month", "month_of_year"), _CRONTABS),
        "ParseException": f"{FIELDS}::test_a_wrong_field_is_refused_with_what_is_allowed",
        "maybe_schedule": f"{FIELDS}::test_what_a_schedule_may_be_written_as",
        **dict.fromkeys(("task", "args", "kwargs", "options"), f"{BEAT}::test_an_entry_calls_{_ITS_TASK}"),
        **dict.fromkeys(("schedule", "relative", "from_string", "add_periodic_task"), _DECLARED),
        **dict.fromkeys(("on_after_configure", "on_after_finalize"), _DECLARED),
        **dict.fromkeys(("jitter", "start", "end", "misfire", "misfire_max", "enabled"), _ENTRY_OPTIONS),
        "deadline": f"{BEAT}::test_a_crontab_has_the_deadline_of_the_app",
        "overlap": f"{FIRING}::test_a_firing_is_skipped_while_an_earlier_job_runs",
        "zone": f"{FIRING}::test_client_and_broker_mean_the_same_by_a_crontab",
        "cron": f"{FIRING}::test_the_next_firings_go_over_a_change_of_the_clock",
        **dict.fromkeys(
            ("is_due", "remaining_estimate"),
            f"{FIELDS}::test_a_crontab_is_due_by_the_clock_on_the_wall_of_its_app",
        ),
        "celery beat": f"{FIRING}::test_beat_says_that_there_is_nothing_to_run",
        **dict.fromkeys(("PeriodicTask", "IntervalSchedule", "CrontabSchedule"), _ADDED),
        **dict.fromkeys(("one_off", "ClockedSchedule"), _LATER),
    },
    "The worker's command line": {
        **dict.fromkeys(_FLAGS.split(), f"{FLAGS}::test_flags_are_settings"),
        **dict.fromkeys(_DETACHED.split(), f"{PROGRAMS}::test_a_worker_goes_to_the_background_with_its_files"),
        **dict.fromkeys(("--purge", "--yes"), f"{PROGRAMS}::{_PURGED}"),
        **dict.fromkeys(("-P", "--pool", "-b"), f"{DAEMON}::test_the_broker_of_the_command_line_is_that_of_tasks_too"),
        **dict.fromkeys(("-c", "--concurrency", "-n", "--hostname", "-l", "--loglevel"), _RUNS),
        "-A": "tests/acceptance/test_cli.py::test_a_worker_takes_the_app_before_its_command_as_celery_does",
        "-X": "tests/acceptance/test_routing.py::test_an_excluded_queue_is_not_taken_and_its_job_says_so",
        "--autoscale": f"{PROGRAMS}::test_an_autoscaled_worker_is_given_other_bounds",
        "--version": "tests/acceptance/test_cli.py::test_a_message_says_which_commands_there_are",
    },
    "Workflows": WORKFLOWS,
    "Results": OF_RESULTS,
}
