"""The broker: gRPC on the outside, a storage engine on the inside, one core between them.

cli, settings, config               flags, environment and file to one BrokerConfig
cli_store, cli_export, cli_replace  what is done with a store that no broker has open
dev, dev_processes, dev_project     `tqbroker dev`: broker and worker here, with reload
server, listening, addresses        composition: opens, serves, drains, stops
descriptors                         how many connections the system lets this process have
service, enqueue_stream, wait_stream, workflow_calls  what applications call
work, acks, outbox                  one object for each open stream of a worker
admin                               what an operator asks
calls, errors, messages             how a call reaches its handler; errors and values to the wire and back
core, workers, orders               the heart: jobs in, jobs out, ends told; the sides of workers and operators
backups                             copies of the store on their way out, one at a time
workflow_verbs                      whole workflows and groups: taken in, looked at, dropped
dispatch, sessions, waiters         who is handed what; connected workers; who waits for which job
outcomes                            what workers bring: stored, told to who waits
scheduler                           submits what schedules plan; what apps declare and operators change
commands, feed                      what is asked of workers; who follows the event log
timers, agenda, clock               what time asks for, and when; the one place that sleeps
guard, inflight, refusals           the engine with its clock; bounds; what is refused
lifecycle, limits, selection        decisions, pure: after an attempt, which limits hold, what a filter means
aging                               the clock by which what is kept grows old, when the wall clock jumps
shares, windows                     arithmetic, pure: whose turn it is, what a rate admits
workflows, workflow_decisions       jobs that wait for each other: values; what follows their ends
schedules                           jobs that wait for a time: values and decisions
cron, calendars, patterns           when schedules fire; moments in a time zone; cron strings and crontabs
revisions, firings                  what becomes of schedules that are put; their jobs and ledgers
records, rules, questions           plain values: jobs, rules, what operators ask
attempts, answers                   plain values: what workers are handed and say, what the verbs answer
storage                             the seam; behind it the engines, picked by URL

Handlers translate, the core decides, an engine keeps order and bytes. The core knows neither the wire nor the disk. Who
may import whom stands in pyproject.toml and docs/architecture.md.
"""

from importlib.metadata import version

__version__ = version("tqbroker")
