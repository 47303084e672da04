"""Every setting, Celery's and ours, with its verdict. docs/migrating.md shows the same."""

from __future__ import annotations

from tqbroker.verdicts import Known, names

_AMQP = "there is no AMQP below: the broker keeps what it needs by itself"
_STORED = "results are stored in the same commit as the end of the job"
_CONNECTION = "one connection a process reconnects by itself, for ever; submit_timeout and request_timeout bound a call"
_EVENTS = "the broker always records events; its --event-ttl and --event-bytes bound them"
_ONE_STORE = "the broker keeps results itself: leave it out"
_DAEMON = "there is no such daemon: leave it out of the unit file too"
_SCHEDULES = "schedules live in the broker, which fires them by itself: `tqbroker schedules` lists and changes them"
_PLUGINS = "parts of the worker cannot be replaced by class: leave it out"
_FLAG = "a worker is set up before it loads your app: write it as a flag of tqbroker worker"
_SECURITY = "signed messages belong to a later version: run broker and clients on one machine or in one private network"

_TASKS = {
    **names("works", "timezone enable_utc task_annotations task_serializer result_serializer"),
    **names("works", "task_publish_retry task_publish_retry_policy task_always_eager task_eager_propagates"),
    **names("works", "task_ignore_result task_time_limit task_soft_time_limit task_allow_error_cb_on_chord_header"),
    **names("works", "task_queues task_routes task_default_queue task_inherit_parent_priority"),
    **names(
        "adapted", "accept_content task_compression result_compression task_default_priority task_create_missing_queues"
    ),
    **names("adapted", "task_default_rate_limit task_acks_late task_acks_on_failure_or_timeout"),
    **names("adapted", "task_acks_on_failure task_acks_on_timeout task_reject_on_worker_lost result_expires"),
    **names("accepted", "result_accept_content", "a client reads json and msgpack, and nothing else"),
    **names("adapted", "task_store_errors_even_if_ignored task_remote_tracebacks task_track_started"),
    **names("adapted", "task_send_sent_event"),
    **names("accepted", "task_protocol", "there is one message layout"),
    **names("accepted", "task_store_eager_result", "an eager call never reaches the broker"),
    **names("accepted", "task_queue_max_priority", "every queue has the priorities 0 to 9"),
    **names("accepted", "task_default_exchange task_default_routing_key", _AMQP),
    **names("accepted", "task_default_exchange_type task_default_queue_type task_default_delivery_mode", _AMQP),
    **names("accepted", "task_create_missing_queue_type task_create_missing_queue_exchange_type", _AMQP),
}

_RESULTS = {
    **names("adapted", "result_backend"),
    **names("accepted", "result_backend_always_retry result_backend_max_retries", _STORED),
    **names("accepted", "result_backend_base_sleep_between_retries_ms", _STORED),
    **names("accepted", "result_backend_max_sleep_between_retries_ms result_backend_thread_safe", _STORED),
    **names("accepted", "result_backend_transport_options result_persistent", _STORED),
    **names("accepted", "result_exchange result_exchange_type", _STORED),
    **names("adapted", "result_extended"),
    **names("accepted", "result_cache_max", "a result keeps its own final answer, and nothing else is kept"),
    **names("accepted", "result_chord_join_timeout result_chord_retry_interval", "nothing polls for chords"),
    **names("refused", "override_backends", _ONE_STORE),
    **names("refused", "database_url database_engine_options database_short_lived_sessions", _ONE_STORE),
    **names("refused", "database_table_schemas database_table_names database_create_tables_at_setup", _ONE_STORE),
    **names("refused", "database_engine_callback", _ONE_STORE),
    **names("refused", "redis_backend_health_check_interval redis_backend_use_ssl", _ONE_STORE),
    **names("refused", "redis_backend_credential_provider redis_max_connections redis_socket_timeout", _ONE_STORE),
    **names("refused", "redis_socket_connect_timeout redis_retry_on_timeout redis_socket_keepalive", _ONE_STORE),
    **names("refused", "redis_client_name cache_backend cache_backend_options mongodb_backend_settings", _ONE_STORE),
    **names("refused", "couchbase_backend_settings arangodb_backend_settings", _ONE_STORE),
    **names("refused", "cassandra_servers cassandra_secure_bundle_path cassandra_port cassandra_keyspace", _ONE_STORE),
    **names("refused", "cassandra_table cassandra_read_consistency cassandra_write_consistency", _ONE_STORE),
    **names("refused", "cassandra_entry_ttl cassandra_auth_provider cassandra_auth_kwargs", _ONE_STORE),
    **names("refused", "cassandra_options s3_access_key_id s3_secret_access_key s3_bucket", _ONE_STORE),
    **names("refused", "s3_base_path s3_endpoint_url s3_region azureblockblob_container_name", _ONE_STORE),
    **names("refused", "azureblockblob_base_path azureblockblob_retry_initial_backoff_sec", _ONE_STORE),
    **names("refused", "azureblockblob_retry_increment_base azureblockblob_retry_max_attempts", _ONE_STORE),
    **names("refused", "azureblockblob_connection_timeout azureblockblob_read_timeout", _ONE_STORE),
    **names("refused", "gcs_bucket gcs_project gcs_base_path gcs_ttl", _ONE_STORE),
    **names("refused", "elasticsearch_retry_on_timeout elasticsearch_max_retries", _ONE_STORE),
    **names("refused", "elasticsearch_timeout elasticsearch_save_meta_as_text", _ONE_STORE),
    **names("refused", "cosmosdbsql_database_name cosmosdbsql_collection_name", _ONE_STORE),
    **names("refused", "cosmosdbsql_consistency_level cosmosdbsql_max_retry_attempts", _ONE_STORE),
    **names("refused", "cosmosdbsql_max_retry_wait_time", _ONE_STORE),
}

_BROKER = {
    **names("adapted", "broker_url"),
    **names("refused", "broker_read_url broker_write_url", "there is one broker for both: write broker_url"),
    **names("accepted", "broker_transport_options broker_pool_limit broker_pool_acquire_timeout", _CONNECTION),
    **names("accepted", "broker_failover_strategy", "there is one broker, which comes back with all it had"),
    **names("accepted", "broker_heartbeat broker_heartbeat_checkrate broker_connection_timeout", _CONNECTION),
    **names("accepted", "broker_connection_retry broker_connection_retry_on_startup", _CONNECTION),
    **names("accepted", "broker_connection_max_retries broker_channel_error_retry", _CONNECTION),
    **names("accepted", "broker_native_delayed_delivery_queue_type", "delays are kept on the broker's disk"),
    **names(
        "later", "broker_use_ssl broker_login_method", "TLS and logins belong to a later version: write tq+unix:///path"
    ),
}

_WORKER = {
    **names("works", "imports include worker_concurrency worker_max_tasks_per_child worker_max_memory_per_child"),
    **names("works", "worker_disable_rate_limits worker_soft_shutdown_timeout worker_enable_remote_control"),
    **names("works", "worker_hijack_root_logger worker_redirect_stdouts worker_redirect_stdouts_level"),
    **names("works", "worker_direct"),
    **names("adapted", "worker_pool worker_prefetch_multiplier worker_proc_alive_timeout worker_pool_restarts"),
    **names("adapted", "worker_log_color worker_log_format worker_task_log_format"),
    **names("accepted", "worker_logfile worker_pidfile worker_uid worker_gid worker_umask worker_executable", _FLAG),
    **names("accepted", "worker_lost_wait", "a worker knows at once that a child has died, and what it said last"),
    **names(
        "accepted",
        "worker_cancel_long_running_tasks_on_connection_loss",
        "a run goes on while the broker is away, and its outcome is stored when it is back",
    ),
    **names("accepted", "worker_eta_task_limit worker_timer worker_timer_precision", "delays wait in the broker"),
    **names("accepted", "worker_disable_prefetch", "an idle worker never starves: what waits stays in the broker"),
    **names("accepted", "worker_enable_prefetch_count_reduction worker_detect_quorum_queues", _AMQP),
    **names("accepted", "worker_state_db", "the broker keeps cancelled ids"),
    **names("accepted", "worker_enable_soft_shutdown_on_idle", "a worker holds no delayed jobs"),
    **names("accepted", "worker_deduplicate_successful_tasks", "a job that succeeded is never delivered again"),
    **names("accepted", "worker_pool_putlocks", "the pool has no such lock"),
    **names("refused", "worker_autoscaler worker_consumer worker_agent", _PLUGINS),
}

_EVENTS_AND_CONTROL = {
    **names("accepted", "worker_send_task_events event_queue_ttl event_queue_expires event_queue_durable", _EVENTS),
    **names("accepted", "event_queue_exclusive event_queue_prefix event_exchange event_serializer", _EVENTS),
    **names("accepted", "control_queue_ttl control_queue_expires control_queue_durable", _AMQP),
    **names("accepted", "control_queue_exclusive control_exchange", _AMQP),
    **names("accepted", "events_logfile events_pidfile events_uid events_gid events_umask events_executable", _DAEMON),
    **names("accepted", "beat_logfile beat_pidfile beat_uid beat_gid beat_umask beat_executable", _DAEMON),
    **names("accepted", "beat_schedule_filename beat_sync_every beat_max_loop_interval beat_scheduler", _SCHEDULES),
    **names("works", "beat_schedule"),
    **names("adapted", "beat_cron_starting_deadline"),
    **names("later", "security_key security_key_password security_certificate", _SECURITY),
    **names("later", "security_cert_store security_digest", _SECURITY),
}

_OURS = names("works", "strict_typing submit_timeout request_timeout")

SETTINGS: dict[str, Known] = {**_OURS, **_TASKS, **_RESULTS, **_BROKER, **_WORKER, **_EVENTS_AND_CONTROL}
