"""Ids: made in rising order, unique, and one text form for each."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from tqbroker.ids import key_of, new_key, new_keys, text_of


def test_new_keys_rise_within_and_across_batches() -> None:
    keys = [*new_keys(1000), new_key(), *new_keys(1000), new_key()]

    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_a_new_key_is_a_version_7_uuid() -> None:
    uuid = UUID(text_of(new_key()))

    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")


def test_threads_never_share_an_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(new_keys, [500] * 16))

    assert len({key for batch in batches for key in batch}) == 8000


def test_a_forked_child_makes_other_ids() -> None:
    script = """if True:
        import os
        from tqbroker.ids import new_keys, text_of
        new_keys(10)
        pid = os.fork()
        keys = new_keys(1000)
        if pid:
            os.waitpid(pid, 0)
        print(*map(text_of, keys), sep="\\n", flush=True)
    """
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30).stdout

    assert len(set(out.split())) == 2000


def test_a_uuid_in_canonical_form_is_16_bytes() -> None:
    text = "01a20491-2ed8-7d31-95ed-c88b72eb0d57"

    assert key_of(text) == UUID(text).bytes
    assert text_of(key_of(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "order 17",
        "01A20491-2ED8-7D31-95ED-C88B72EB0D57",
        "01a204912ed87d3195edc88b72eb0d57",
        "01a20491-2ed8-7d31-95ed-c88b72eb0d5g",
        "01a20491-2ed87-d31-95ed-c88b72eb0d57",
        "é" * 128,
    ],
)
def test_any_other_id_stays_text(text: str) -> None:
    assert key_of(text) == text
    assert text_of(key_of(text)) == text


@pytest.mark.parametrize("text", ["", "x" * 129, "a\nb", "a\x00", "\udce9", "\U0001f600" * 97])
def test_an_id_that_is_not_1_to_128_printable_characters_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="1 to 128 printable characters"):
        key_of(text)
