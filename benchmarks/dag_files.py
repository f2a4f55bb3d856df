"""Dag files: CPU time of imports on top of ``airflow.sdk``, of discovery, and of 500 operators in a Dag."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

from benchmarks.frame import Report
from benchmarks.lab import Lab

TIMES = 9
MOST_IMPORT, MOST_DISCOVERY = 10.0, 2.0
"""Milliseconds."""

ALIKE = 1.05
"""Two medians that differ by less are the same."""

# Each is a module and, after the colon, a function of it to call.
LEEN_MODULES = (
    "airflow_provider_leen.operators.leen:",
    "airflow_provider_leen.sensors.leen:",
    "airflow_provider_leen.notifications.leen:",
)
PEERS = (
    "airflow.providers.atlassian.jira.operators.jira:",
    "airflow.providers.pagerduty.notifications.pagerduty:",
    "airflow.providers.http.operators.http:",
)
DISCOVERY = "airflow_provider_leen.get_provider_info:get_provider_info"

IMPORTS = """
import importlib, json, os, sys, time
import airflow.sdk
from airflow.providers.common.compat.sdk import BaseHook, BaseNotifier, BaseOperator, BaseSensorOperator


def cost(module, function):
    # In a fork, so that the next one finds nothing imported.
    read, write = os.pipe()
    if os.fork() == 0:
        before, started = len(sys.modules), time.process_time()
        imported = importlib.import_module(module)
        if function:
            getattr(imported, function)()
        taken = (time.process_time() - started) * 1000
        os.write(write, json.dumps([taken, len(sys.modules) - before]).encode())
        os._exit(0)
    os.wait()
    return json.loads(os.read(read, 1000))


*names, times = sys.argv[1:]
for name in names:
    cost(*name.split(":"))  # so that all bytecode is there
print(json.dumps({name: [cost(*name.split(":")) for _ in range(int(times))] for name in names}))
"""

PARSING = """
import json, sys, time
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.providers.http.operators.http import HttpOperator
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator

TICKETS = [{"name": "a finding", "project_vendor_id": "SEC", "type": "Task"}]


def leen(task_id):
    LeenBulkCreateTicketsOperator(task_id=task_id, tickets=TICKETS, max_failures=0)


def http(task_id):
    HttpOperator(task_id=task_id, endpoint="tickets", data={"tickets": TICKETS}, method="POST")


def parse(make):
    started = time.process_time()
    with DAG("many", schedule=None) as dag:
        for number in range(500):
            make(f"task_{number}")
    DagSerialization.to_dict(dag)
    return (time.process_time() - started) * 1000


for make in (leen, http):
    parse(make)
print(json.dumps([(parse(leen), parse(http)) for _ in range(9)]))
"""


def measure(lab: Lab) -> Report:
    report = Report()
    costs = json.loads(_run(IMPORTS, *LEEN_MODULES, *PEERS, DISCOVERY, str(TIMES)))
    limits = dict.fromkeys(LEEN_MODULES, MOST_IMPORT) | {DISCOVERY: MOST_DISCOVERY}
    for name, told in costs.items():
        milliseconds = statistics.median(taken for taken, _ in told)
        module, function = name.split(":")
        limit = limits.get(name)
        report.add(
            function or f"import {module}",
            f"{milliseconds:.1f} ms, {told[0][1]} modules",
            f"under {limit:.0f} ms" if limit else "a peer",
            milliseconds < limit if limit else None,
        )
    pairs = json.loads(_run(PARSING))
    ours, http = (statistics.median(pair[position] for pair in pairs) for position in (0, 1))
    report.add(
        "a Dag with 500 operators, made and serialised",
        f"{ours:.0f} ms",
        f"HttpOperator: {http:.0f} ms",
        ours <= ALIKE * http,
    )
    return report


def _run(script: str, *arguments: str) -> str:
    # As in any installed package, there is bytecode.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", script, *arguments]
    # Airflow may log to the same place first.
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.splitlines()[-1]
