"""A monitor of the event log, as a user writes one: `python monitor.py URL AFTER` prints a line for each event."""

from __future__ import annotations

import sys

from tqbroker import App


def main(url: str, after: str) -> None:
    app = App("monitor", broker=url)
    for event in app.events.follow(after=int(after)):
        print(event["number"], event["type"], event.get("uuid", "-"), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
