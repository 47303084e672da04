"""The event log, as a stream: from a cursor on, at the pace of the one who reads."""

from __future__ import annotations

import asyncio

from tqbroker.v1 import admin_pb2 as pb
from tqbroker_broker.calls import Context
from tqbroker_broker.core import Core
from tqbroker_broker.messages.questions import read_kinds, write_events
from tqbroker_broker.questions import EventPage

PAGE = 1000
"""Events read at a time."""

GATHER = 0.02
"""Seconds in which new events gather for one who has read everything: a message for each commit is too many."""


class EventCall:
    """One open stream."""

    def __init__(self, core: Core, request: pb.WatchEventsRequest, context: Context) -> None:
        self._core = core
        self._context = context
        self._kinds = read_kinds(list(request.kinds))
        self._follow = request.follow
        self._cursor = request.after

    async def run(self) -> None:
        """Sends what there is, and with `follow` what comes, until the caller or the broker goes."""
        if not self._follow:
            await self._catch_up(first=True)
            return
        feed = self._core.feed
        feed.enter()
        try:
            first = True
            while not feed.closed:
                version = feed.version
                await self._catch_up(first=first)
                first = False
                await feed.changed(version)
                await asyncio.sleep(GATHER)
            await self._catch_up(first=False)
        finally:
            feed.leave()

    async def _catch_up(self, *, first: bool) -> None:
        """Sends everything up to the end of the log; a first message even when there is nothing."""
        while True:
            page = await self._core.orders.events(self._cursor, PAGE)
            reached = max(page.cursor, page.lost_before - 1)
            moved = reached > self._cursor
            self._cursor = max(reached, self._cursor)
            if moved or first:
                await self._context.write(self._response(page))
            first = False
            if not moved:
                return

    def _response(self, page: EventPage) -> pb.WatchEventsResponse:
        events = [write_events(each) for each in page.events if each.kind in self._kinds]
        return pb.WatchEventsResponse(events=events, cursor=self._cursor, lost_before=page.lost_before)
