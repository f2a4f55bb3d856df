from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.settings import EXTRAS, LeenSettings, connection_url, read_settings, unknown_extras
from airflow_provider_leen.get_provider_info import CONN_FIELDS

KEY = "lk_live_f00d"
CONNECTION_ID = "7f2c1e0a-0000-4000-8000-000000000000"


def read(**fields: Any) -> LeenSettings:
    given: dict[str, Any] = {"host": None, "login": CONNECTION_ID, "password": KEY, "extra": {}}
    return read_settings(**(given | fields))


def refusal(**fields: Any) -> str:
    with pytest.raises(LeenConfigError) as caught:
        read(**fields)
    return str(caught.value)


def test_a_key_and_a_connection_id_are_enough() -> None:
    assert read(extra=None) == LeenSettings(
        base_url="https://api.leen.dev/v1", api_key=KEY, connection_id=CONNECTION_ID
    )


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_an_empty_field_is_the_same_as_an_absent_one(nothing: Any) -> None:
    emptied = read(host=nothing, connection_id=nothing, timeout=nothing, extra=dict.fromkeys(CONN_FIELDS, nothing))
    assert emptied == read()


# The key


@pytest.mark.parametrize(
    ("password", "key"),
    [
        pytest.param(f"{KEY}\n", KEY, id="a trailing line break"),
        pytest.param(f"\t {KEY} \r\n", KEY, id="blanks around it"),
        pytest.param("two words", "two words", id="a space inside"),
        pytest.param("a+b/c==\"'\\", "a+b/c==\"'\\", id="punctuation"),
    ],
)
def test_a_key_is_stripped_and_otherwise_taken_as_it_is(password: str, key: str) -> None:
    assert read(password=password).api_key == key


@pytest.mark.parametrize("password", ["lk_fäd", "lk_a\nb", "lk_a\r\nX-Other: b", "lk_a\tb", "lk_a\x00b", "lk_a\u00a0b"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_quoted(password: str) -> None:
    sentence = refusal(password=password)
    assert "API key" in sentence
    assert "lk_" not in sentence


@pytest.mark.parametrize("password", [None, "", " \n"])
def test_a_missing_key_is_named_with_its_field(password: str | None) -> None:
    assert "'API key' (password)" in refusal(password=password)


def test_no_repr_shows_the_key_or_the_proxys_password() -> None:
    settings = read(extra={"proxy": "http://me:hunter2@proxy.example.com:3128"})
    assert KEY not in f"{settings!r} {settings!s}"
    assert "hunter2" not in f"{settings!r} {settings!s}"
    assert pickle.loads(pickle.dumps(settings)) == settings


# The connection ID


def test_a_connection_id_argument_overrides_the_login() -> None:
    assert read(connection_id=" other ").connection_id == "other"
    assert read(login=None, connection_id="other").connection_id == "other"


@pytest.mark.parametrize("login", [None, "", " "])
def test_a_missing_connection_id_is_named_with_its_field(login: str | None) -> None:
    assert "'Leen connection ID' (login)" in refusal(login=login)


@pytest.mark.parametrize("bad", ["two words", "umläut", "a\nb"])
def test_a_connection_id_that_no_header_can_hold_is_refused(bad: str) -> None:
    assert repr(bad) in refusal(connection_id=bad)
    assert "(login)" in refusal(login=bad)


def test_a_key_that_was_filled_into_the_login_is_not_quoted() -> None:
    assert "secret" not in refusal(login="my secret key", password=CONNECTION_ID)


# The base URL


@pytest.mark.parametrize(
    ("host", "region", "base_url"),
    [
        pytest.param(None, "us", "https://api.leen.dev/v1", id="us"),
        pytest.param(None, " EU-C1 ", "https://api.eu-c1.leen.dev/v1", id="eu, as a person may write it"),
        pytest.param("", "ap-se2", "https://api.ap-se2.leen.dev/v1", id="asia"),
        pytest.param("https://leen.acme.example/v1", "eu-c1", "https://leen.acme.example/v1", id="host beats region"),
        pytest.param(" https://leen.acme.example/v1// ", None, "https://leen.acme.example/v1", id="trailing slashes"),
        pytest.param("https://acme.example:8443/leen/v1", None, "https://acme.example:8443/leen/v1", id="port, path"),
        pytest.param("HTTPS://api.leen.dev/v1", None, "https://api.leen.dev/v1", id="scheme in capitals"),
        pytest.param("http://localhost:8765/v1", None, "http://localhost:8765/v1", id="http on localhost"),
        pytest.param("http://127.0.0.1/v1", None, "http://127.0.0.1/v1", id="http on loopback"),
        pytest.param("http://[::1]:80/v1", None, "http://[::1]:80/v1", id="http on IPv6 loopback"),
    ],
)
def test_the_base_url_comes_from_the_host_or_the_region(host: str | None, region: str | None, base_url: str) -> None:
    assert read(host=host, extra={"region": region}).base_url == base_url


LEEN, LOCAL = "https://api.leen.dev/v1", "http://127.0.0.1:8765/v1"


@pytest.mark.parametrize(
    ("host", "port", "schema", "url"),
    [
        (None, None, None, None),
        (" ", 443, "", None),
        ("", None, "https", None),
        (LEEN, None, None, LEEN),
        # What Airflow's HTTP connections call schema.
        (LEEN, None, "https", LEEN),
        (LEEN, None, " HTTPS:// ", LEEN),
        ("api.leen.dev/v1", None, "https", LEEN),
        (LOCAL, None, "http", LOCAL),
        ("127.0.0.1:8765/v1", None, "http", LOCAL),
        ("localhost", 8765, "http", "http://localhost:8765"),
        ("HTTPS://api.leen.dev/v1", None, "https", LEEN),
        # What a URI calls so.
        ("api.leen.dev", None, "v1", LEEN),
        ("api.leen.dev", 8443, "/leen/v1/", "https://api.leen.dev:8443/leen/v1"),
        ("http://127.0.0.1", 8765, "v1", LOCAL),
        # The port is given twice.
        (LOCAL, 8765, "http", LOCAL),
        ("[::1]:80/v1", 80, "http", "http://[::1]:80/v1"),
    ],
)
def test_the_base_url_is_put_together_from_airflows_fields(
    host: str | None, port: int | None, schema: str | None, url: str | None
) -> None:
    assert connection_url(host, port, schema) == url


@pytest.mark.parametrize(
    ("host", "schema", "said"),
    [
        ("https://me:hunter2@api.leen.dev/v1", "http", "begins with https://"),
        (LOCAL, "https", "begins with http://"),
        (None, "http", "only https"),
    ],
)
def test_a_schema_that_contradicts_the_host_is_named(host: str | None, schema: str, said: str) -> None:
    with pytest.raises(LeenConfigError) as caught:
        connection_url(host, None, schema)
    assert f"'schema' of the Airflow connection is {schema!r}" in str(caught.value)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_scheme_http_is_for_this_machine_alone() -> None:
    assert read(host=connection_url("localhost:8765/v1", None, "http")).base_url == "http://localhost:8765/v1"
    assert "in clear" in refusal(host=connection_url("api.leen.dev/v1", None, "http"))


# Unknown extras


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("time_out", "did you mean 'timeout'?"),
        ("Max-Retries", "did you mean 'max_retries'?"),
        ("ticketurl", "did you mean 'ticket_url'?"),
        ("api_key_of_someone", "there are region, timeout,"),
        ("a\x1b[2J\nb", "'a[2J b'"),
    ],
)
def test_an_unknown_extra_is_named_with_the_nearest_known_one(name: str, said: str) -> None:
    [sentence] = unknown_extras({name: "hunter2", "timeout": 5})
    assert said in sentence
    assert "hunter2" not in sentence


def test_the_forms_extras_are_all_known() -> None:
    assert list(CONN_FIELDS) == list(EXTRAS)
    assert unknown_extras(dict.fromkeys(EXTRAS)) == []


@pytest.mark.parametrize(
    ("host", "said"),
    [
        pytest.param("https://", "not a web address", id="no host"),
        pytest.param("ftp://api.leen.dev/v1", "not a web address", id="another scheme"),
        pytest.param("api.leen.dev/v1", "not a web address", id="no scheme"),
        pytest.param("https://api leen dev/v1", "not a web address", id="a space"),
        pytest.param("https://läen.dev/v1", "not a web address", id="an umlaut"),
        pytest.param("https://api.leen.dev:99999/v1", "not a web address", id="no such port"),
        pytest.param("https://[::1/v1", "not a web address", id="half an IPv6 address"),
        pytest.param("https://api.leen.dev", "write https://api.leen.dev/v1", id="no version"),
        pytest.param("https://api.leen.dev/v2", "write https://api.leen.dev/v2/v1", id="another version"),
        pytest.param("http://api.leen.dev/v1", "https://", id="http over a network"),
        pytest.param("HTTP://api.leen.dev/v1", "https://", id="http in capitals over a network"),
        pytest.param("http://localhost.evil.example/v1", "https://", id="http, only named like this machine"),
    ],
)
def test_a_base_url_that_cant_be_used_is_quoted_with_what_to_write(host: str, said: str) -> None:
    sentence = refusal(host=host)
    assert "Base URL" in sentence
    assert said in sentence
    assert repr(host) in sentence


@pytest.mark.parametrize(
    "host",
    [
        "https://hunter2@api.leen.dev/v1",
        "https://me:hunter2@api.leen.dev/v1",
        "https://me:hunter2@api.leen.dev:99999/v1",
        "ftp://me:hunter2@api.leen.dev/v1",
        "me:hunter2@api.leen.dev/v1",
        "https://api.leen.dev/v1?key=hunter2",
        "https://api.leen.dev/v1#hunter2",
        "https://me:hunter2@",
    ],
)
def test_a_base_url_with_a_secret_in_it_is_refused_and_not_quoted(host: str) -> None:
    sentence = refusal(host=host)
    assert "Base URL" in sentence
    assert "'API key'" in sentence
    assert "hunter2" not in sentence


def test_the_sandboxs_key_is_no_secret_and_may_cross_a_network_in_clear() -> None:
    assert read(host="http://sandbox:8765/v1", password="sandbox-key").base_url == "http://sandbox:8765/v1"


@pytest.mark.parametrize("region", ["mars", "us-dev", 5, ["us"]])
def test_an_unknown_region_is_refused_with_the_known_ones(region: Any) -> None:
    sentence = refusal(extra={"region": region})
    assert "region" in sentence
    assert "us, eu-c1, ap-se2" in sentence


# Numbers


@pytest.mark.parametrize(
    ("value", "seconds"), [(5, 5.0), (0.3, 0.3), ("5", 5.0), (" 2.5 ", 2.5), ("1e3", 1000.0)], ids=repr
)
@pytest.mark.parametrize("name", ["timeout", "max_retry_wait", "settle_time"])
def test_seconds_are_numbers_or_texts_that_hold_one(name: str, value: Any, seconds: float) -> None:
    assert getattr(read(extra={name: value}), name) == seconds


@pytest.mark.parametrize(
    "value", [-1, "-0.1", "soon", "5 s", "nan", "inf", 10**400, True, [5], {}], ids=lambda v: repr(v)[:9]
)
@pytest.mark.parametrize(
    ("name", "label"),
    [("timeout", "Timeout (s)"), ("max_retry_wait", "Max retry wait (s)"), ("settle_time", "Settle time (s)")],
)
def test_a_value_that_is_no_number_of_seconds_is_refused_by_its_label(name: str, label: str, value: Any) -> None:
    sentence = refusal(extra={name: value})
    assert sentence.startswith(f"{label} is {repr(value)[:70]}")
    assert "write a number of seconds" in sentence
    assert len(sentence) < 200


def test_only_the_timeout_must_be_above_zero() -> None:
    settings = read(extra={"max_retry_wait": 0, "settle_time": 0, "max_retries": 0})
    assert (settings.max_retry_wait, settings.settle_time, settings.max_retries) == (0, 0, 0)
    assert "above 0" in refusal(extra={"timeout": 0})


@pytest.mark.parametrize(("value", "count"), [(0, 0), (7, 7), ("7", 7), (" 2 ", 2)], ids=repr)
def test_max_retries_is_a_whole_number_or_a_text_that_holds_one(value: Any, count: int) -> None:
    assert read(extra={"max_retries": value}).max_retries == count


@pytest.mark.parametrize("value", [-1, 1.5, "1.5", "many", True, [3], "9" * 5000], ids=lambda value: repr(value)[:9])
def test_a_value_that_is_no_count_of_retries_is_refused_by_its_label(value: Any) -> None:
    sentence = refusal(extra={"max_retries": value})
    assert sentence.startswith("Max retries is ")
    assert "whole number of 0 or more" in sentence
    assert len(sentence) < 200


@pytest.mark.parametrize(("name", "value"), [("timeout", 7.5), ("max_retries", 9), ("max_retries", 0)])
def test_an_argument_overrides_the_extra(name: str, value: Any) -> None:
    assert getattr(read(extra={name: 5}, **{name: value}), name) == value


def test_a_bad_argument_is_refused_like_a_bad_extra() -> None:
    assert "Timeout (s) is -1" in refusal(timeout=-1, extra={"timeout": 5})
    assert "Max retries is -1" in refusal(max_retries=-1)


# TLS, proxy, links


@pytest.mark.parametrize("value", [True, "true", " True ", "YES", "on", "1", 1])
def test_tls_is_verified(value: Any) -> None:
    assert read(extra={"verify": value}).verify is True


@pytest.mark.parametrize("value", [False, "false", "False", "no", "Off", "0", 0])
def test_tls_is_not_verified_when_that_is_asked_for(value: Any) -> None:
    assert read(extra={"verify": value}).verify is False


def test_verify_takes_the_path_of_a_bundle_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    assert read(extra={"verify": f" {bundle} "}).verify == str(bundle)
    sentence = refusal(extra={"verify": "ca.pme"})
    assert "Verify TLS" in sentence
    assert "ca.pme" in sentence


@pytest.mark.parametrize("proxy", ["http://proxy:3128", "https://me:hunter2@proxy:3128", "socks5://proxy:1080"])
def test_a_proxy_is_a_url(proxy: str) -> None:
    assert read(extra={"proxy": f" {proxy} "}).proxy == proxy


@pytest.mark.parametrize(
    "proxy",
    ["me:hunter2@proxy:3128", "ftp://me:hunter2@proxy", "http://", "http://[hunter2", "http://p:hunter2", 3128],
)
def test_a_bad_proxy_is_refused_and_not_quoted(proxy: Any) -> None:
    sentence = refusal(extra={"proxy": proxy})
    assert sentence.startswith("Proxy ")
    assert "http://proxy.example.com:3128" in sentence
    assert "hunter2" not in sentence


LINKS = [("ticket_url", "Ticket URL", "{vendor_ticket_id}"), ("search_url", "Search URL", "{vendor_ticket_ids}")]


@pytest.mark.parametrize(("name", "label", "placeholder"), LINKS)
def test_a_link_is_a_web_address_with_its_placeholder(name: str, label: str, placeholder: str) -> None:
    link = f"https://acme.example/{placeholder}"
    assert getattr(read(extra={name: f" {link} "}), name) == link
    for bad in ("https://acme.example/", f"acme.example/{placeholder}", 5):
        sentence = refusal(extra={name: bad})
        assert sentence.startswith(f"{label} is {bad!r}")
        assert placeholder in sentence


def test_a_very_long_bad_value_is_quoted_in_short() -> None:
    assert len(refusal(extra={"region": "x" * 10_000})) < 300


def test_all_extras_can_come_from_json() -> None:
    extra = {
        "region": "eu-c1",
        "timeout": 5,
        "max_retries": 1,
        "max_retry_wait": 2.5,
        "settle_time": "7",
        "verify": False,
        "proxy": "http://proxy:3128",
        "ticket_url": "https://acme.example/browse/{vendor_ticket_id}",
        "search_url": "https://acme.example/issues/?jql=key in ({vendor_ticket_ids})",
    }
    assert set(extra) == set(CONN_FIELDS)
    assert read(extra=json.loads(json.dumps(extra))) == LeenSettings(
        base_url="https://api.eu-c1.leen.dev/v1",
        api_key=KEY,
        connection_id=CONNECTION_ID,
        timeout=5.0,
        max_retries=1,
        max_retry_wait=2.5,
        settle_time=7.0,
        verify=False,
        proxy="http://proxy:3128",
        ticket_url="https://acme.example/browse/{vendor_ticket_id}",
        search_url="https://acme.example/issues/?jql=key in ({vendor_ticket_ids})",
    )


@pytest.mark.parametrize("key", ["secret-of-a-file\n", "secret\r\nX-Other: 1", "secret\x00", "sécret"])
def test_a_key_that_no_header_can_carry_is_refused_unquoted_also_without_a_connection(key: str) -> None:
    with pytest.raises(LeenConfigError) as refused:
        LeenSettings(base_url="https://api.leen.dev/v1", api_key=key, connection_id=CONNECTION_ID)
    assert "The API key contains a character" in str(refused.value)
    assert "cret" not in str(refused.value)
