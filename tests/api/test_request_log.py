"""Requests through httpx that are not ours are logged as ever."""

from __future__ import annotations

import logging

import httpx
import pytest

from airflow_provider_leen.api.sync_client import LeenClient
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.api.test_client import settings_of


def ask(sandbox: SandboxServer) -> None:
    with LeenClient(settings_of(sandbox)) as client:
        client.run(client.aio.check())


def test_our_requests_are_not_logged_and_those_of_others_are(
    sandbox: SandboxServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="httpx")
    ask(sandbox)
    assert caplog.messages == []
    httpx.get(sandbox.base_url)
    assert [record.name for record in caplog.records] == ["httpx"]


def test_with_httpx_at_debug_level_ours_are_shown(sandbox: SandboxServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="httpx")
    ask(sandbox)
    (line,) = [message for message in caplog.messages if message.startswith("HTTP Request: ")]
    assert "GET" in line
    assert sandbox.api_key not in line
