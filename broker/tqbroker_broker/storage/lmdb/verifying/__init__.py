"""The check of a whole store: every page, every row, and the rows of each table against those of the others.

Run as a program it reads in a process of its own (`storage/verified.py`), because a damaged file can kill its reader.

everything.py   what is looked at, in which order; the pages come first (../pages.py)
snapshot.py     the rows, as one transaction sees them
look.py         decoded, with the report that grows
plans.py        the agenda
places.py       lanes and places
jobs.py         all tables in the order of seqs, side by side: beside.py, runs.py, seqs.py
names.py        ids, unique keys, counts, events, rules
workflows.py, nodes.py, joins.py   workflows
"""

from tqbroker_broker.storage.lmdb.verifying.everything import verify

__all__ = ["verify"]
