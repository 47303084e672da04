"""The check of a whole store: every page, every row, and the rows of each table against those of the others.

Run as a program it reads in a process of its own (`storage/verified.py`), because a damaged file can kill its reader.

pages.py      the file: pages, trees, free list, without LMDB
snapshot.py   the rows, as one transaction sees them
everything.py what is looked at, in which order
"""

from tqbroker_broker.storage.lmdb.verifying.everything import verify

__all__ = ["verify"]
