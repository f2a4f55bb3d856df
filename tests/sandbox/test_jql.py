from __future__ import annotations

import sqlite3

import pytest

from airflow_provider_leen.sandbox.jql import JQLError, compile_jql
from airflow_provider_leen.sandbox.store import words

TICKETS = {
    "SEC-101": ("SEC", "SQL built from strings", "In orm/query.py:214. Key: airflow-3f2a9c"),
    "SEC-102": ("SEC", "Strings built from SQL", 'He said "hello, big world"'),
    "APP-101": ("APP", "Żółta łódź", "It's {{ here }}\nairflow-3f2a9cff"),
}


def found(jql: str) -> list[str]:
    condition = compile_jql(jql)
    with sqlite3.connect(":memory:") as database:
        columns = "connection_id, ticket_id, vendor_key, project_key, name_words, description_words"
        database.execute(f"CREATE TABLE tickets ({columns})")
        rows = [("c", key, key, project, words(name), words(text)) for key, (project, name, text) in TICKETS.items()]
        database.executemany("INSERT INTO tickets VALUES (?, ?, ?, ?, ?, ?)", rows)
        database.execute("CREATE TABLE moved (connection_id, vendor_key, ticket_id)")
        database.executemany(
            "INSERT INTO moved VALUES (?, ?, ?)", [("c", "OLD-7", "SEC-102"), ("d", "OLD-8", "SEC-102")]
        )
        keys = database.execute(
            f"SELECT vendor_key FROM tickets WHERE {condition.sql}", condition.parameters
        ).fetchall()
    database.close()
    return [key for (key,) in keys]


@pytest.mark.parametrize(
    ("jql", "keys"),
    [
        ("key = SEC-101", ["SEC-101"]),
        ('key in (SEC-101, "APP-101", SEC-999)', ["SEC-101", "APP-101"]),
        ("key in (OLD-7, OLD-8, APP-101)", ["SEC-102", "APP-101"]),
        ("key = OLD-8", []),
        ("project = SEC", ["SEC-101", "SEC-102"]),
        ('text ~ "strings sql"', ["SEC-101", "SEC-102"]),
        (r'text ~ "\"built from strings\""', ["SEC-101"]),
        (r'summary ~ "\"airflow-3f2a9c\""', []),
        (r'description ~ "\"airflow-3f2a9c\""', ["SEC-101"]),
        (r"text ~ '\"HELLO big World\"'", ["SEC-102"]),
        (r'text ~ "\"\u0142\u00F3d\u017A\""', ["APP-101"]),
        ("text ~ strings", ["SEC-101", "SEC-102"]),
        ("text ~ 'It\\'s'", ["APP-101"]),
        (r'text ~ "\"airflow-3f2a9c\"" OR text ~ "\"airflow-3f2a9cff\""', ["SEC-101", "APP-101"]),
        ("project = SEC AND text ~ hello OR key = APP-101", ["SEC-102", "APP-101"]),
        ("project = SEC and (text ~ hello or key = APP-101)", ["SEC-102"]),
        ("project = APP ORDER BY created DESC", ["APP-101"]),
    ],
)
def test_a_query_finds_these_tickets(jql: str, keys: list[str]) -> None:
    assert found(jql) == keys


def test_the_keys_that_a_query_names_are_known_of_it() -> None:
    condition = compile_jql('key = A-1 OR (text ~ B-2 AND issuekey in (C-3, "D-4"))')
    assert condition.keys == ("A-1", "C-3", "D-4")


@pytest.mark.parametrize(
    ("jql", "reason"),
    [
        ("", "ends too early"),
        ("key =", "ends too early"),
        ("key in (SEC-1", "ends too early"),
        ("key in ()", "Expected a value, but got ')'"),
        ("key ~ SEC-1", "Expected = or in, but got '~'"),
        ("colour = red", "Field 'colour' does not exist"),
        ('text ~ "unclosed', "is a quote missing there?"),
        (r'text ~ "bad \q escape"', r"'\q' is no escape of JQL"),
        ("key = SEC-1 key = SEC-2", "Expected AND, OR or the end of the query, but got 'key'"),
        ('text ~ "!!!"', "contains no word"),
        ("text ~ " + "x" * 5000, "at most 5000 are allowed"),
    ],
)
def test_a_query_that_cant_be_read_is_refused_with_a_reason(jql: str, reason: str) -> None:
    with pytest.raises(JQLError) as caught:
        compile_jql(jql)
    assert reason in str(caught.value)
