"""The worker daemon.

cli, config, flags, background  the command line, settings, flags without a meaning, a worker as a Unix daemon
daemon, banner, reactions       composition; what it prints; what it does when it is asked something
beforehand                      what it does with its queues before it takes jobs
stream, session, ledger, notes  the talk with the broker: gRPC, what to say when; outcomes and progress until stored
messages, misfits, placing      our values to wire messages and back; deliveries that make no sense
identity, refusals              who this worker is; what the broker did not store
handover, feeding, backlog      what becomes of each job; which child gets it; what waits
seats                           a child as the hand-over sees it
credit, joblog                  how much to ask for; a line for each job
pool, children, deaths, pipe    child processes, how they ended, and the sockets to them
autoscale, timelimits, forcing  as many as there is work for; jobs that run too long, or are to be ended
desk, commands, asks            what operators ask of a running worker, and what of its children
protocol, jobs, places          what parent and child say; jobs as columns; what they are handed in a workflow
arguments                       a child's command line
progress                        the page where a child counts
child, link, watchdog           inside a child: entry, its end of the socket, the thread that looks after it
manifest, announcing, answers   inside a child: what its app has; signals; what operators ask
loglook, stdouts                how the log looks; what tasks print, as lines of it
vital                           inside a child: what must not end while the process goes on
runners, coroutines             inside a child: threads or an event loop, and one job in it
delivery, attempts, plans       inside a child: one job as it is run, and what is known of its task
execute, endings, outcomes      inside a child: one delivery to one outcome
handing                         inside a child: what goes in front of the arguments of a job of a workflow
slots, guard, limits, channel   inside a child: how long a job may run, how it is interrupted, what it says of itself

The parent holds the only connection and never runs user code; children never load gRPC.
"""
