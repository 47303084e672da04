"""The worker daemon.

cli, config, daemon          flags, settings, composition
stream, session, ledger      the conversation with the broker: gRPC, what to say when, outcomes until acknowledged
messages, identity           our values to wire messages
handover, credit, joblog     which child gets which job, how much to ask for, a line for each job
pool, children, pipe         child processes and the sockets to them
protocol, progress           what parent and child say; the page where a child counts
child, link, watchdog        inside a child: entry, its end of the socket, the thread that looks after it
runners, coroutines          inside a child: threads or an event loop, and one job in it
execute, outcomes            inside a child: one delivery to one outcome
slots, guard, limits         inside a child: how long a job may run, and how it is interrupted
channel, answers, announcing inside a child: what jobs say, what operators ask, signals

The parent holds the only connection and never runs user code; children never load gRPC.
"""
