"""Signatures as Celery's users make, keep, send and call them, with a real broker and worker."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE

from tqbroker import App, Signature, chain, chord, chunks, group, maybe_signature, signature, subtask, xmap, xstarmap
from tqbroker.exceptions import ChordError, NotRegistered

Make = Callable[[Any], Any]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with delivery(tmp_path_factory.mktemp("signatures"), "canvas") as place:
        place.broker()
        place.worker("-c", "4")
        yield place


def value(sig: Any, *args: Any, **kwargs: Any) -> Any:
    """What its job returns."""
    return sig.delay(*args, **kwargs).get(timeout=PATIENCE)


WAYS: list[Make] = [
    lambda t: t.named.s(1, y=2),
    lambda t: t.named.signature((1,), {"y": 2}),
    lambda t: t.named.subtask((1,), {"y": 2}, countdown=0),
    lambda t: signature(t.named, args=(1,), kwargs={"y": 2}),
    lambda t: signature("tasks.named", args=(1,), kwargs={"y": 2}, app=t.app),
    lambda t: subtask("tasks.named", (1,), {"y": 2}, app=t.app),
    lambda t: t.app.signature("tasks.named", (1,), {"y": 2}),
    lambda t: Signature("tasks.named", (1,), {"y": 2}, app=t.app),
    lambda t: signature({"task": "tasks.named", "args": [1], "kwargs": {"y": 2}}, app=t.app),
    lambda t: maybe_signature(dict(t.named.s(1, y=2)), app=t.app),
    lambda t: Signature.from_dict(dict(t.named.s(1, y=2)), app=t.app),
    lambda t: pickle.loads(pickle.dumps(t.named.s(1, y=2))),
]


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_a_signature_is_made_in_many_ways(shop: Delivery, way: int) -> None:
    sig = WAYS[way](shop.tasks)

    assert (value(sig), sig.reprcall()) == (3, "tasks.named(1, y=2)")


def test_new_arguments_go_in_front_and_keywords_over_its_own(shop: Delivery) -> None:
    t = shop.tasks
    sig = t.named.s(5, scale=2)

    assert value(sig) == 10
    assert value(t.seen.s(4), 3) == [3, 4]
    assert value(sig, y=1) == 12
    assert value(t.named.s(y=1), 7, scale=3) == 24
    assert value(sig.clone(kwargs={"scale": 10})) == 50
    assert value(t.seen.s("b").partial(("a",))) == ["a", "b"]
    assert value(sig.replace(args=(1,), kwargs={})) == 1
    assert sig.apply_async((), {"y": 2}, priority=3).get(timeout=PATIENCE) == 14
    assert value(sig) == 10


def test_an_immutable_signature_takes_nothing(shop: Delivery) -> None:
    t = shop.tasks
    fixed = [t.seen.si("a"), t.seen.signature(("a",), immutable=True), t.seen.s("a").set(immutable=True)]
    many = group(t.seen.s("a"), t.seen.s("b"))
    many.set_immutable(True)

    assert [value(sig, "given") for sig in fixed] == [["a"]] * 3
    assert value(t.add.s(1, 1) | t.seen.si("a")) == ["a"]
    assert value(t.add.s(1, 1) | many) == [["a"], ["b"]]
    whole = chord([t.seen.s("a")], t.seen.s("b"))
    whole.set_immutable(True)
    assert value(t.add.s(1, 1) | whole) == [[["a"]], "b"]


def test_a_signature_is_called_in_place_or_waited_for(shop: Delivery) -> None:
    t = shop.tasks

    assert t.add.s(4)(3) == 7
    assert t.add.s(2, 2).apply().get() == 4
    assert ~t.add.s(2, 2) == 4
    assert ~group(t.add.s(1, 1), t.add.s(2, 2)) == [2, 4]
    assert ~chord([t.add.s(1, 1), t.add.s(2, 2)], t.total.s()) == 6
    assert chain(t.add.s(1), t.add.s(2))(3).get(timeout=PATIENCE) == 6
    assert group(t.add.s(1), t.add.s(2))(3).get(timeout=PATIENCE) == [4, 5]
    assert chord(t.add.s(i, i) for i in range(3))(t.total.s()).get(timeout=PATIENCE) == 6
    assert t.add.s(1, 1).freeze().id != t.add.s(1, 1).freeze().id


def test_a_signature_is_an_argument_like_any_other(shop: Delivery) -> None:
    t = shop.tasks
    for sig, expected in ((t.add.s(2), 3), (t.add.s(2) | t.add.s(3), 6), (chord([t.add.s(2)], t.total.s()), 3)):
        job = t.run_it.delay(sig)
        assert shop.app.AsyncResult(job.get(timeout=PATIENCE)).get(timeout=PATIENCE) == expected


def test_a_signature_kept_as_text_is_run_by_another_program(shop: Delivery) -> None:
    t = shop.tasks
    sig = chain(t.add.s(1, 1), group(t.add.s(1), t.add.s(2)), t.total.s()).set(headers={"a": 1})
    sig.link(t.seen.s())
    (shop.project / "kept.json").write_text(json.dumps(sig))

    code = "import json; from tqbroker import signature; from tasks import app; "
    code += "print(signature(json.load(open('kept.json'))).delay().get(timeout=20))"
    assert shop.python(code) == "7"


def test_a_program_without_the_tasks_sends_workflows_of_them_by_name(shop: Delivery) -> None:
    client = App("client", broker=shop.url, set_as_current=False)

    def call(name: str, *args: Any) -> Signature[Any]:
        return client.signature(f"tasks.{name}", args)

    try:
        assert value(call("add", 2, 2)) == 4
        assert value(call("add", 2, 2) | call("add", 3)) == 7
        assert value(group(call("add", 1, 1), call("add", 2, 2)) | call("total")) == 6
        assert value(chunks(call("add"), [(1, 1), (2, 2)], 1, app=client)) == [[2], [4]]
        failed: Any = (call("breaks", "it") | call("seen")).on_error(call("quiet"))
        with pytest.raises(Exception, match="it") as raised:
            value(failed)
        assert type(raised.value).__name__ == "BrokenError"
        with pytest.raises(ChordError, match="BrokenError"):
            value(chord([call("breaks", "it")], call("seen")))
        with pytest.raises(NotRegistered):
            call("add", 1, 1).apply()
    finally:
        client.close()


MAPS: list[tuple[Make, Any]] = [
    (lambda t: t.total.map([[1, 2], [3]]), [3, 3]),
    (lambda t: xmap(t.total.s(), ([i, i] for i in range(3)), app=t.app), [0, 2, 4]),
    (lambda t: t.add.starmap([(2, 2), (4, 4)]), [4, 8]),
    (lambda t: xstarmap(t.add, zip(range(3), range(3), strict=True)), [0, 2, 4]),
    (lambda t: t.add.chunks(zip(range(5), range(5), strict=True), 2), [[0, 2], [4, 6], [8]]),
    (lambda t: t.add.chunks([(1, 1), (2, 2)], 1).group(), [[2], [4]]),
    (lambda t: t.add.chunks([(1, 1), (2, 2), (3, 3)], 2) | t.seen.s(), [[[2, 4], [6]]]),
    (lambda t: t.add.s(1, 1) | t.total.map([[5]]) | t.seen.s(), [[5]]),
    (lambda t: group(t.total.map([[1]]), t.add.starmap([(1, 1)])) | t.seen.s(), [[[1], [2]]]),
    (lambda t: chord([t.add.chunks([(1, 1), (2, 2)], 1)], t.seen.s()), [[[2], [4]]]),
    (lambda t: t.add.chunks([(i, i) for i in range(6)], 2).set(queue="default"), [[0, 2], [4, 6], [8, 10]]),
]


@pytest.mark.parametrize(("make", "expected"), MAPS)
def test_maps_and_chunks_go_wherever_calls_go(shop: Delivery, make: Make, expected: Any) -> None:
    sig = make(shop.tasks)

    assert value(signature(json.loads(json.dumps(sig)), app=shop.app)) == expected
    assert value(sig) == expected


def test_a_skewed_group_of_chunks_starts_bit_by_bit(shop: Delivery) -> None:
    many = shop.tasks.add.chunks([(i, i) for i in range(4)], 1).group()
    many.skew(start=0, step=0.05)

    assert value(many) == [[0], [2], [4], [6]]
    assert [part.options["countdown"] for part in many.tasks] == pytest.approx([0, 0.05, 0.1, 0.15])
