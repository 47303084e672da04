"""Wire messages to records and back: no I/O, no decisions beyond "is this well-formed".

`ids` and `status` serve all, `intake` is Enqueue, `outcomes` and `deliveries` are the two directions of Work.
"""
