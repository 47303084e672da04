"""`make loss-table`: what a system has lost of what it said it had, after a kill -9 and after a loss of power.

main        the run: all systems that are installed, one after the other
cases       who is measured, with which settings, and what their documentation says
kill        the server is killed while clients submit, and started again
power       the same without the page cache: the disk as a power cut would have left it
drain       a worker runs whatever is still there; what is missing then, and what ran twice
table       as markdown and as JSON
"""
