"""The default engine: one LMDB environment, one writer, every commit flushed.

keys.py      what lies where on disk, with its picture
rows.py, workflow_rows.py   records to bytes and back, with their CRC: of jobs, and of workflows
opening.py   directory, lock, checks of the file, format version
commit.py    group commit: many callers, one transaction, one flush, then the answers
capacity.py  how full the store is, and what there is still room for
fullness.py  whether a commit failed for want of room, or because of the disk
group.py     one transaction under way, and what follows once it is durable
lanes.py     lanes: where in each the next job stands, as keys
bounds.py    where the lanes of a full queue begin
heaps.py, levels.py   the hand-out order: queues, priorities, tenants, lanes, oldest first
gates.py, rates.py    limits: what runs and what started, in memory and on disk
book.py      leases and their holders, in memory
store.py     what all verbs share
txn.py       the part of py-lmdb that is used, typed
events.py    the event log: columns of ids, one value for each commit
overdue.py   whether there is anything for upkeep to do
workflow_reader.py, workflow_writer.py   what a transaction has seen of workflows, and what it changes
counting.py, following.py, postponing.py, reopening.py   what follows the end of a job in its workflow, and a redrive
merging.py, dropping.py, wrecks.py   workflows that are added to others, that go, that cannot be read
history.py, annotating.py   earlier attempts of a job; progress and checkpoints
standing.py, telling.py, extras.py   the place of a job in its workflow; what is told of a job, and goes with it
uniques.py, rooms.py, checking.py   unique keys; room in queues with a length; whether a workflow fits
places.py, picking.py, columns.py   which jobs one worker gets, and its answer as it grows
rulebook.py  rules of queues and limits
firing.py    schedules: their jobs and their rows
intake.py, submitting.py, handout.py, outcomes.py, endings.py, cancelling.py   the verbs
falling_due.py, upkeep.py, membership.py, editing.py   more of them
copying.py   a consistent copy of the open store
reading.py, scanning.py   what is known of jobs, by id and by filter
overview.py, groups.py   what is known of workflows and groups
engine.py    the seam: each verb, handed to its module
tables.py, table_rows.py   every database as a table of plain values, for those who read all of it
verifying/   the check of a whole store
replacing.py   a file in the place of a store: restored, compacted
exporting.py, importing.py   a store as lines of JSON, and back
pages.py     the check of its pages, without LMDB
"""
