"""Options, times, stamps and ids in workflows as Celery's users give them, with a real broker and worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker import chain, chord, group, signature
from tqbroker.canvas import StampingVisitor
from tqbroker.exceptions import TaskRevokedError

NOBODYS = "nobody takes from this queue"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with delivery(tmp_path_factory.mktemp("options"), "canvas") as place:
        place.broker()
        place.worker("-c", "4", "-Q", "default,mail")
        yield place


def send(sig: Any, **options: Any) -> Any:
    """Submits a signature. Its result is one of several kinds."""
    return sig.apply_async(**options)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# -- times ------------------------------------------------------------------------------------------------------------


def test_the_countdown_of_a_part_begins_when_the_one_before_has_ended(shop: Delivery) -> None:
    t = shop.tasks
    last = send(t.add.s(1, 1) | t.place.s().set(countdown=0.5))

    due = moment(last.get(timeout=PATIENCE)["eta"])
    assert timedelta(seconds=0.4) < due - last.parent.date_done < timedelta(seconds=5)


def test_the_eta_of_a_part_is_the_moment_before_which_it_is_not_run(shop: Delivery) -> None:
    t, now = shop.tasks, datetime.now(UTC)
    eta = now.replace(microsecond=now.microsecond // 1000 * 1000) + timedelta(seconds=1)
    past = eta - timedelta(hours=1)
    results = [
        send(t.place.s().set(eta=eta)),
        send(t.add.s(1, 1) | t.place.s().set(eta=eta)),
        send(chord([t.add.s(1, 1)], t.place.s().set(eta=eta))),
        send(t.add.s(1, 1) | t.place.s().set(eta=past)),
    ]

    assert [moment(each.get(timeout=PATIENCE)["eta"]) for each in results[:3]] == [eta] * 3
    assert all(each.date_done >= eta for each in results[:3])
    assert results[3].get(timeout=PATIENCE)


def test_the_delay_of_a_chord_is_that_of_its_header(shop: Delivery) -> None:
    t = shop.tasks
    body = send(chord([t.place.s(), t.place.s()], t.seen.s() | t.place.s()), countdown=0.5)

    (places,) = body.parent.get(timeout=PATIENCE)
    assert all(each["eta"] for each in places)
    assert body.get(timeout=PATIENCE)["eta"] is None


@pytest.mark.parametrize("expires", [0.2, timedelta(seconds=0.2)])
def test_a_part_that_is_not_started_in_time_takes_what_follows_with_it(shop: Delivery, expires: Any) -> None:
    t = shop.tasks
    moment = datetime.now(UTC) + expires if isinstance(expires, timedelta) else expires
    last = send(t.add.s(1, 1) | t.add.s(1).set(queue=NOBODYS, expires=moment) | t.add.s(1))
    body = send(chord([t.add.s(1, 1).set(queue=NOBODYS, expires=moment), t.add.s(1, 1)], t.total.s()))

    for each in (last, body):
        with pytest.raises(TaskRevokedError):
            each.get(timeout=PATIENCE)
        assert each.state == "REVOKED"
    assert last.parent.parent.get(timeout=PATIENCE) == 2


def test_a_skewed_group_has_its_starts_spread(shop: Delivery) -> None:
    result = send(group(shop.tasks.place.s() for _ in range(4)).skew(start=0.1, stop=0.5, step=0.2))

    due = [moment(each["eta"]) for each in result.get(timeout=PATIENCE)]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(due)]
    assert gaps == pytest.approx([0.2, 0.2, 0], abs=0.1)


# -- options ----------------------------------------------------------------------------------------------------------


def test_options_of_the_whole_go_where_they_go_in_celery(shop: Delivery) -> None:
    t = shop.tasks
    own = {"queue": "mail", "priority": 7, "headers": {"a": 1}}
    first, second = shown(send(t.place.s() | t.place.s(), **own).parent), shown(send(t.place.s() | t.place.s(), **own))
    many = [shown(each) for each in send(group(t.place.s(), t.place.s()), **own)]
    body = send(chord([t.place.s(), t.place.s()], t.place.s()), **own)

    there = ("mail", 7, {"a": 1})
    assert (first, second) == (there, ("default", 0, {}))
    assert many == [there] * 2
    assert [shown(each) for each in (*body.parent, body)] == [there] * 3


def shown(result: Any) -> tuple[Any, ...]:
    seen = result.get(timeout=PATIENCE)
    return seen["queue"], seen["priority"], seen["headers"]


def test_options_of_a_part_are_its_own(shop: Delivery) -> None:
    t = shop.tasks
    sig = chain(
        t.place.s().set(queue="mail"),
        t.place.s().set(priority=3),
        group(t.place.s().set(headers={"b": 2}), t.place.s()),
    )

    last = send(signature(json.loads(json.dumps(sig)), app=shop.app))

    assert [shown(each) for each in (last.parent.parent, last.parent, *last)] == [
        ("mail", 0, {}), ("default", 3, {}), ("default", 0, {"b": 2}), ("default", 0, {}),
    ]  # fmt: skip


def test_values_come_through_whatever_format_each_part_has(shop: Delivery) -> None:
    t = shop.tasks
    rich = [datetime(2026, 1, 2, tzinfo=UTC), Decimal("1.10"), b"\x00", (1, "ä"), {1, 2}]
    packed = t.seen.s(*rich).set(serializer="msgpack", compression="zlib")
    header = [packed, t.seen.s(*rich), packed | t.seen.s()]

    body = send(chord(header, t.seen.s().set(serializer="msgpack") | t.seen.s()))

    assert body.get(timeout=PATIENCE) == [[[rich, rich, [rich]]]]


def test_a_job_knows_its_place(shop: Delivery) -> None:
    t = shop.tasks
    body = send(t.place.s() | group(t.place.s(), t.place.s() | t.place.s()) | t.place.s())

    seen = [each.get(timeout=PATIENCE) for each in (body.parent.parent, *body.parent, body)]
    first, one, two, last = seen
    assert {each["root"] for each in seen} == {first["id"]}
    assert (first["parent"], first["group"], first["index"]) == (None, None, None)
    assert (one["parent"], one["group"], one["index"], one["chord"]) == (first["id"], body.parent.id, 0, body.parent.id)
    assert (two["group"], two["index"]) == (body.parent.id, 1)
    assert last["parent"] in (one["id"], two["id"])


# -- ids --------------------------------------------------------------------------------------------------------------


def test_what_is_frozen_has_its_ids_and_is_run_once_however_often_it_is_sent(shop: Delivery) -> None:
    t, tag = shop.tasks, uuid4().hex
    sig = chain(t.quiet.si(tag), group(t.add.si(1, 1), t.add.si(2, 2)), t.total.s())
    middle: Any = sig.tasks[1]

    frozen: Any = sig.freeze(str(uuid4()))
    results = [sig.delay(), sig.delay(), signature(json.loads(json.dumps(sig)), app=shop.app).delay()]

    assert [each.get(timeout=PATIENCE) for each in results] == [6, 6, 6]
    assert {each.id for each in results} == {frozen.id} == {sig.id}
    assert [each.id for each in frozen.parent] == [part.id for part in middle.tasks]
    assert sum(tag in line.get("values", ()) for line in shop.trace()) == 1


def test_chosen_ids_are_those_of_the_result(shop: Delivery) -> None:
    t = shop.tasks
    ids = [str(uuid4()) for _ in range(4)]
    results = [
        send(t.add.s(1, 1) | t.add.s(1), task_id=ids[0]),
        send(group(t.add.s(1, 1), t.add.s(2, 2)), task_id=ids[1]),
        send(chord([t.add.s(1, 1)], t.total.s()), task_id=ids[2]),
        send(chain(t.add.s(1, 1), t.add.s(1).set(task_id=ids[3]))),
    ]

    assert [each.id for each in results] == ids
    assert [each.get(timeout=PATIENCE) for each in results] == [3, [2, 4], 2, 3]
    assert shop.app.AsyncResult(ids[2]).get(timeout=PATIENCE) == 2


# -- stamps -----------------------------------------------------------------------------------------------------------


class Everywhere(StampingVisitor):
    """Says where each call stands. The stamps of a whole are those of its parts too."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"task": sig.task}

    def on_chain_start(self, chain: Any, **headers: Any) -> dict[str, Any]:
        return {"steps": len(chain.tasks)}

    def on_chain_end(self, chain: Any, **headers: Any) -> None:
        self.ended.append("chain")

    def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any]:
        return {"members": len(group.tasks)}

    def on_group_end(self, group: Any, **headers: Any) -> None:
        self.ended.append("group")

    def on_chord_body(self, sig: Any, **header: Any) -> dict[str, Any]:
        return {"body": "yes"}

    def on_callback(self, callback: Any, **header: Any) -> dict[str, Any]:
        return {"linked": "success"}

    def on_errback(self, errback: Any, **header: Any) -> dict[str, Any]:
        return {"linked": "failure"}


def test_a_visitor_stamps_every_part_by_where_it_stands(shop: Delivery) -> None:
    t, visitor = shop.tasks, Everywhere()
    callback = str(uuid4())
    sig = chain(t.place.s(), group(t.place.s(), t.place.s()), t.place.s())
    sig.tasks[-1].link(t.place.s().set(task_id=callback))
    sig.tasks[0].on_error(t.place.s())

    sig.stamp(visitor=visitor)
    body = send(signature(json.loads(json.dumps(sig)), app=shop.app))
    stamps = [each.get(timeout=PATIENCE)["stamps"] for each in (body.parent.parent, *body.parent, body)]

    assert stamps[0] == {"task": ["tasks.place"], "steps": ["3"]}
    assert stamps[1] == stamps[2] == {"task": ["tasks.place"], "steps": ["3"], "members": ["2"]}
    assert stamps[3] == {"task": ["tasks.place"], "steps": ["3"]}
    linked = shop.app.AsyncResult(callback).get(timeout=PATIENCE)["stamps"]
    assert linked == {"task": ["tasks.place"], "steps": ["3"], "linked": ["success"]}
    assert visitor.ended == ["group", "chain"]
    told = sig.tasks[0].options["link_error"][0]
    assert {name: told.options[name] for name in told.options["stamped_headers"]} == {
        "task": "tasks.place", "steps": 3, "linked": "failure",
    }  # fmt: skip


def test_the_body_of_a_chord_has_its_own_stamps(shop: Delivery) -> None:
    t = shop.tasks
    sig = chord([t.place.s(), t.place.s()], t.place.s())
    sig.stamp(Everywhere())
    body = send(sig)

    assert body.get(timeout=PATIENCE)["stamps"]["body"] == ["yes"]
    assert all("body" not in each["stamps"] for each in body.parent.get(timeout=PATIENCE))


def test_a_later_stamp_replaces_or_joins_an_earlier_one(shop: Delivery) -> None:
    t = shop.tasks
    sigs = [t.place.s().stamp(run=1, who="ann") for _ in range(2)]
    sigs[0].stamp(run=2)
    sigs[1].stamp(append_stamps=True, run=2)
    given = t.place.s().set(stamped_headers=["run"], run=3)

    stamps = [each.delay().get(timeout=PATIENCE)["stamps"] for each in (*sigs, given)]

    assert stamps[0] == {"run": ["2"], "who": ["ann"]}
    assert {name: sorted(values) for name, values in stamps[1].items()} == {"run": ["1", "2"], "who": ["ann"]}
    assert stamps[2] == {"run": ["3"]}


def test_a_workflow_is_found_and_cancelled_by_its_stamps(shop: Delivery) -> None:
    t, run = shop.tasks, uuid4().hex
    sig = chain(t.add.s(1, 1).set(countdown=3600), group(t.add.s(1), t.add.s(2)), t.total.s())
    sig.stamp(run=run)
    last = send(sig)

    found = json.loads(shop.tqbroker("jobs", "list", "--stamp", f"run={run}", "--json").stdout)
    assert len(found) == 4
    shop.app.control.revoke_by_stamped_headers({"run": run})

    until(lambda: last.state == "REVOKED", "the last part to be revoked")
