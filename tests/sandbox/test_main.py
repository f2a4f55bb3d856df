"""The command, as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence

import httpx
import pytest

from airflow_provider_leen.sandbox.server import SandboxServer

COMMAND = [sys.executable, "-m", "airflow_provider_leen.sandbox"]


def run(*arguments: str, command: Sequence[str] = COMMAND) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_when_it_is_up_and_stops_on_request(stop: signal.Signals) -> None:
    arguments = ["--port", "0", "--fault", "503:1.0", "--seed", "1"]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        where, export = process.stdout.readline(), process.stdout.readline()
        assignment, _, value = export.strip().partition("=")
        connection = json.loads(value.strip("'"))
        assert assignment == "export AIRFLOW_CONN_LEEN_DEFAULT"
        assert connection["host"] in where
        headers = {"X-CONNECTION-ID": connection["login"], "X-API-KEY": connection["password"]}
        with httpx.Client(headers=headers, trust_env=False) as client:
            assert client.get(f"{connection['host']}/itsm/projects").status_code == 200
            assert client.post(f"{connection['host']}/itsm/tickets/bulk/sync").status_code == 503
            process.send_signal(stop)
            out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_in_use_is_one_sentence(sandbox: SandboxServer) -> None:
    port = sandbox.url.rpartition(":")[2]
    done = run("--port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Can't listen on 127.0.0.1:{port}: Address already in use. Try another --port.\n"


def test_a_host_that_can_have_no_name_is_one_sentence() -> None:
    done = run("--host", "x\u202e\x1b[31m")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Can't listen on x\\u202e\\x1b[31m:8765: this can't be the name of a host. Try another --port.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--port", "99999"], "Can't listen on 127.0.0.1:99999: "),
        (["--port", "0", "--db", "/"], "Can't use the file /: "),
        (["--fault", "lsot"], "'lsot' is not a fault: write KIND or KIND:RATE, "),
    ],
)
def test_an_option_that_cant_be_used_is_one_sentence(arguments: list[str], reason: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(reason)
    assert done.stderr.count("\n") == 1


def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None; "
        "from airflow_provider_leen.sandbox.__main__ import main; sys.exit(main([]))"
    )
    done = run(command=[sys.executable, "-c", code])
    assert done.returncode == 1
    assert done.stderr.startswith("The sandbox needs FastAPI and uvicorn: pip install 'airflow-provider-leen[sandbox]'")


def test_the_sandbox_imports_nothing_from_airflow() -> None:
    code = (
        "import sys, airflow_provider_leen.sandbox.server; "
        "print([name for name in sys.modules if name.partition('.')[0] == 'airflow'])"
    )
    assert run(command=[sys.executable, "-c", code]).stdout == "[]\n"
