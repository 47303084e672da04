"""What Celery's users know of workflows, results and periodic tasks, by the table of docs/migrating.md it stands in.

Listed here so that none is forgotten.
"""

from __future__ import annotations

_SIGNATURES = "Signature signature subtask maybe_signature from_dict s si clone partial set replace freeze reprcall "
_SIGNATURES += (
    "flatten_links immutable set_immutable link link_error on_error errback __or__ __invert__ __call__ delay "
)
_SIGNATURES += "apply_async apply countdown eta expires"
_FORMS = "chain group chord map starmap chunks xmap xstarmap skew graph to_dot"
_STAMPS = "StampingVisitor stamp append_stamps on_signature on_group_start on_group_end on_chain_start on_chain_end "
_STAMPS += "on_chord_header_start on_chord_header_end on_chord_body on_callback on_errback"
_CHORDS = "task_allow_error_cb_on_chord_header result_chord_retry_interval result_chord_join_timeout"

_RESULT = "get wait ready successful failed state status result info traceback children parent collect iterdeps "
_RESULT += "get_leaf build_graph forget exists revoke revoke_by_stamped_headers then maybe_throw name args kwargs "
_RESULT += "worker date_done retries queue as_tuple as_list result_from_tuple"
_RESULTS = "ResultSet add remove discard update clear waiting completed_count iterate join iter_native join_native "
_RESULTS += "GroupResult save restore delete EagerResult allow_join_result denied_join_result states AbortableTask "
_RESULTS += "AbortableAsyncResult"

_ENTRIES = "task schedule args kwargs options relative crontab minute hour day_of_week day_of_month month_of_year "
_ENTRIES += "from_string solar maybe_schedule ParseException is_due remaining_estimate add_periodic_task "
_ENTRIES += "on_after_configure on_after_finalize ScheduleEntry Scheduler backend_cleanup"
_DJANGO = "IntervalSchedule CrontabSchedule SolarSchedule ClockedSchedule PeriodicTask PeriodicTasks DatabaseScheduler "
_DJANGO += "one_off enabled"
_BEAT = "beat_schedule beat_scheduler beat_schedule_filename beat_sync_every beat_max_loop_interval "
_BEAT += "beat_cron_starting_deadline timezone enable_utc"

NAMES: dict[str, frozenset[str]] = {
    "Methods of a task": frozenset(
        ["s", "si", "signature", "subtask", "map", "starmap", "chunks", "replace", "on_replace", "add_to_chord"]
    ),
    "Options of a call": frozenset(
        ["link", "link_error", "countdown", "eta", "expires", "headers", "stamps", "stamped_headers"]
    ),
    "Settings": frozenset(f"{_BEAT} {_CHORDS}".split()),
    "Periodic tasks": frozenset([*_ENTRIES.split(), *_DJANGO.split(), "celery beat"]),
    "Workflows": frozenset([*f"{_SIGNATURES} {_FORMS} {_STAMPS} {_CHORDS}".split(), "celery graph"]),
    "Results": frozenset(f"{_RESULT} {_RESULTS}".split()),
    "The worker's command line": frozenset(
        ["-B", "--beat", "-s", "--schedule", "--schedule-filename", "-S", "--scheduler"]
    ),
}
