"""One setting under four names, which of them wins, and what is said of a value that cannot be used."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from tqbroker_broker.cli import serve
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.settings import BOUNDS, ConfigError, example, load, settings

EXAMPLE = Path(__file__).parents[3] / "deploy" / "tqbroker.example.toml"


def test_every_field_is_a_flag_an_environment_name_and_a_documented_key() -> None:
    known = {setting.name: setting for setting in settings()}
    assert set(known) == {field.name for field in fields(BrokerConfig)}
    flags = {option for parameter in serve.params for option in parameter.opts}
    for setting in known.values():
        assert setting.flag in flags
        assert setting.env == f"TQBROKER_{setting.name.upper()}"
        assert len(setting.help) > 10, setting.name


def test_every_number_has_bounds_that_admit_its_default() -> None:
    numbers = {setting.name: setting.default for setting in settings() if setting.type in (int, float)}
    assert set(numbers) == set(BOUNDS)
    for name, default in numbers.items():
        low, high = BOUNDS[name]
        assert low <= default <= high, name


def test_the_example_file_is_what_the_settings_say() -> None:
    assert EXAMPLE.read_text() == example(), "write settings.example() into deploy/tqbroker.example.toml"


def test_the_example_file_can_be_loaded_with_every_line_switched_on(tmp_path: Path) -> None:
    lines = [line.removeprefix("# ") if " = " in line else line for line in example().splitlines()]
    file = tmp_path / "all.toml"
    file.write_text("\n".join(lines))
    assert load({}, {}, file) == BrokerConfig()


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "tq.toml"
    file.write_text("lease_ttl = 11\ngrace = 1\ndrain = 3.5\n")
    environ = {"TQBROKER_LEASE_TTL": "12", "TQBROKER_GRACE": "2"}
    config = load({"lease_ttl": "13"}, environ, file)
    assert (config.lease_ttl, config.grace, config.drain, config.group_limit) == (13.0, 2.0, 3.5, 5000)


def test_addresses_come_as_a_list_or_separated_by_commas(tmp_path: Path) -> None:
    file = tmp_path / "tq.toml"
    file.write_text('listen = ["127.0.0.1:1", "unix:/run/tq.sock"]\n')
    assert load({}, {}, file).listen == ("127.0.0.1:1", "unix:/run/tq.sock")
    assert load({}, {"TQBROKER_LISTEN": "127.0.0.1:1, [::1]:2"}).listen == ("127.0.0.1:1", "[::1]:2")
    assert load({"listen": ("127.0.0.1:3",)}, {}).listen == ("127.0.0.1:3",)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"TQBROKER_LEASE_TTL": "soon"}, "TQBROKER_LEASE_TTL is 'soon': it must be a number from 0.3 to 3_600"),
        ({"TQBROKER_MAP_SIZE": "1.5"}, "TQBROKER_MAP_SIZE is '1.5': it must be a whole number"),
        ({"TQBROKER_HIGH_WATER": "2"}, "from 0.1 to 0.95"),
        ({"TQBROKER_LOGLEVEL": "loud"}, "use one of debug, info"),
        ({"TQBROKER_LISTEN": " , "}, "one or more addresses"),
        ({"TQBROKER_DATA_DIR": ""}, "TQBROKER_DATA_DIR is '': it must be a directory"),
        ({"TQBROKER_STORAGE": "foo:bar"}, "TQBROKER_STORAGE is 'foo:bar': it must be lmdb:PATH or memory:"),
        ({"TQBROKER_STORAGE": "lmdb:"}, "it must be lmdb:PATH or memory:"),
        ({"TQBROKER_STORAGE": "memory"}, "it must be lmdb:PATH or memory:"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load({}, environ)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("lease_tll = 3\n", "there is no setting 'lease_tll': did you mean 'lease_ttl'?"),
        ("colour = 3\n", "tqbroker serve --help lists them all"),
        ("lease_ttl = [\n", "is not TOML"),
        ("data_dir = 3\n", "data_dir is 3: it must be a text in quotes"),
        ("drain = true\n", "drain is True: it must be a number"),
        ("group_limit = 2.5\n", "group_limit is 2.5: it must be a whole number"),
        ("listen = [3]\n", "one or more addresses"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_why(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "tq.toml"
    file.write_text(content)
    with pytest.raises(ConfigError) as error:
        load({}, {}, file)
    assert str(file) in str(error.value)
    assert words in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load({}, {}, tmp_path / "none.toml")


def test_serve_refuses_a_bad_setting_with_one_line_and_exit_code_2() -> None:
    result = CliRunner().invoke(serve, ["--lease-ttl", "0"])
    assert result.exit_code == 2
    assert result.output == "tqbroker serve: --lease-ttl is '0': it must be a number from 0.3 to 3_600\n"


@pytest.mark.parametrize("arguments", [["--storage", "foo:bar"], ["--data-dir", ""]])
def test_serve_refuses_a_place_for_its_data_that_is_none(arguments: list[str]) -> None:
    result = CliRunner().invoke(serve, arguments)
    assert result.exit_code == 2
    assert result.output.startswith(f"tqbroker serve: {arguments[0]} is {arguments[1]!r}: it must be ")


@pytest.mark.parametrize("url", ["", "memory:", "lmdb:/var/lib/tqbroker"])
def test_every_storage_there_is_can_be_named(url: str) -> None:
    assert load({"storage": url}, {}).storage == url
