"""The harness of `make bench`: whole processes, several rounds, medians.

main, sizes, rounds     the run: which systems, how much, in what order
systems, servers        who is measured, with which settings; their servers as private processes
apps                    what runs inside the measured processes, ours and the rivals': the task, the client's steps
footprint, startup      memory and disk of a full queue; import time and `--help`
scene                   our broker, to be killed and started again, with workers and clients
delayed, lanes, limited, operators, workflows   what only ours is measured at, in such a scene
backlog                 the long one: a store with 10 million queued jobs
losses                  another matter: what is lost, ours and the rivals'
processes, load, machine, memory    daemons, CPU of others, what this machine is, what a process has
targets, report         what the figures should be, and how they are shown
"""
