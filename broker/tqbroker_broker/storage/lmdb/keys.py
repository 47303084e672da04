"""The layout on disk.

Numbers in keys are big-endian, so that their order is the order of their bytes. `seq` (8 bytes) numbers jobs in the
order they were stored and never changes; `order` (8 bytes, from the same counter) is a job's place in its lane; `lane`
(8 bytes, from the same counter) numbers lanes. Those that have a tenant, an ordering key, limits or required labels
leave `names` with their last row in `lanes`; the others stay.

    database       key                          value
    ------------   --------------------------   ------------------------------------------------------------
    meta           "format" "store" "epoch"     format version, id of this store, epoch of the last start
                   "aging"                      the jumps of the clock that aging lags behind by, since when (aging.py)
    jobs           seq                          the job as submitted, or as changed since    (rows.pack_jobs)
    ids            id                           seq, digest (16); its final token once the job is dropped
    names          lane                         what the jobs of the lane have in common     (lanes.LaneKey)
    lanes          lane, order                  seq, flags (1): the jobs that are ready or running
    delayed        due_ms, seq                  -  : the jobs that are scheduled
    notes          seq                          what happened to a job since, if anything    (rows.Note)
    attempts       seq, token                   one earlier attempt of a job                 (attempts.PastAttempt)
    progress       seq                          what the attempts of a job said of it        (rows.Said)
    uniques        unique key (16)              the job that took it, and until when         (rows.Holding)
    final          seq                          state, result or failure of a finished job   (rows.Final)
    dead           seq                          -  : the finished jobs that are FAILED
    agenda         kind (1), when_ms, number    seqs or ids to look at then                  (kinds below)
    counts         queue                        jobs by state (7 numbers); and the store's own counters
    events         number of the first          what one commit did, as columns              (events.py)
    workers        name                         instance (16): who may hold leases
    queues         queue                        how it is to behave                          (rules.QueueRule)
    limits         name                         whether an operator set it; the rule         (rules.LimitRule)
    starts         name                         when jobs under a rate started lately        (rates.py)
    workflows      workflow                     a workflow with its progress                 (workflow_rows.WorkflowRow)
    workflow_ids   id (16)                      number of the workflow
    parts          workflow, part + 1 (4)       where its jobs are, digest (16) of the part  (workflow_rows.SPAN)
    takers         workflow                     what is to take the place of a running job   (rows.pack_jobs)
    nodes          seq of the first             the place that jobs in a row have in common  (workflow_rows.Nodes)
    joins          workflow, join (4)           what some of its jobs wait for               (workflow_rows.Join)
    members        join (12), index/1024 (4)    seqs
    counted        join (12), index/1024 (4)    a byte for each member: what its end was     (workflow_rows.Counted)
    followers      join (12), seq of the first  -  : the jobs that wait for it, or have
    forgotten      seq                          id of a job that was dropped before its workflow
    groups         id (16)                      workflow, join (4)
    saved          id (16)                      a list of jobs, and until when               (workflow_rows.Saved)
    trails         seq                          ids of the jobs that the body of a job submitted
    schedules      name                         the schedule, and up to when it has fired    (schedules.ScheduleState)

`workflow` (8 bytes) numbers workflows, from the same counter. A job is in exactly one of `lanes`, `delayed` and
`final`, unless it waits for other jobs: then its place in `nodes` says for which. A lease writes nothing: the row in
`lanes` stays until the outcome commits. What is in `attempts` or `progress` is in `notes` as well. An id without a row
in `jobs` is remembered only, so that a late resend is recognised.
"""

from __future__ import annotations

from struct import Struct

FORMAT_VERSION = 1

DATABASES = (
    "meta",
    "jobs",
    "ids",
    "names",
    "lanes",
    "delayed",
    "notes",
    "attempts",
    "progress",
    "uniques",
    "final",
    "dead",
    "agenda",
    "counts",
    "events",
    "workers",
    "queues",
    "limits",
    "starts",
    "workflows",
    "workflow_ids",
    "parts",
    "takers",
    "nodes",
    "joins",
    "members",
    "counted",
    "followers",
    "forgotten",
    "groups",
    "saved",
    "trails",
    "schedules",
)

U64 = Struct(">Q")
PAIR = Struct(">QQ")
AGENDA = Struct(">cQQ")

HELD_BACK = b"aging"
"""The key in `meta` of what aging holds back (see `holding`)."""

ORDER_END = b"\xff" * 8
"""Behind every order of a lane."""

TOKEN_AT = 24
"""Where the final token stands in the row of an id whose job was dropped: behind its seq and digest."""

# Kinds of agenda rows.
EXPIRY = b"x"  # seqs of jobs that expire at `when`
RETENTION = b"r"  # seqs of finished jobs that are dropped at `when`
MEMORY = b"i"  # ids that are forgotten for good at `when`
MARKS = b"c"  # seqs with a cancel mark; `when` is 0
WORKFLOWS = b"w"  # the number of a workflow that is dropped at `when`, if it may be
TURNS = b"t"  # seqs of jobs whose ends are still to be counted for those that wait for them; `when` is 0
WRECKS = b"d"  # a join or a place that cannot be read: what follows it has to end; `when` is 0
SAVED = b"g"  # an id under which a group was saved that is forgotten at `when`
KEYS = b"k"  # a unique key that is free at `when`, and the seq of the job that took it

# Flags of a row in `lanes`.
PLAIN = b"\x00"
NOTED = b"\x01"  # the job has a row in `notes`

COLUMNS = 7
"""Numbers in a row of `counts`; one of an earlier version may have fewer."""

# Keys of `counts` that are no queue: a queue's name is printable.
NEXT_SEQ = b"\x00seq"
NEXT_EVENT = b"\x00event"
REMEMBERED = b"\x00remembered"
"""How many ids are remembered without their job."""


def first_number(row: bytes) -> int:
    """The number a key or value begins with: the seq in a row of `ids` and `lanes`."""
    number: int = U64.unpack_from(row)[0]
    return number


def order_of(place: bytes) -> int:
    """The order in a key of `lanes`."""
    order: int = U64.unpack_from(place, U64.size)[0]
    return order


def delayed_key(due_ms: int, seq: int) -> bytes:
    """The key of a scheduled job."""
    return PAIR.pack(due_ms, seq)
