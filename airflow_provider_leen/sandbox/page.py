"""The page at ``/``: the tickets that the sandbox holds, for a person's eyes. Self-contained, no key on it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.responses import HTMLResponse

from airflow_provider_leen.sandbox.app import ASSUMPTIONS
from airflow_provider_leen.sandbox.records import held_ticket
from airflow_provider_leen.sandbox.store import Store

PAGE_SIZE = 100

_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d8dee4, #30363d); --soft: light-dark(#59636e, #9198a1); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; margin: 0; }
p, summary { color: var(--soft); margin: .3rem 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.name { overflow-wrap: anywhere; }
td.fixed { white-space: nowrap; }
td.key { white-space: nowrap; font-variant-numeric: tabular-nums; font-weight: 600; }
td details { color: var(--soft); } td pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .4rem 0; }
nav { display: flex; gap: 1rem; margin: 1rem 0 2rem; }
"""


def render(tickets: Sequence[Mapping[str, Any]], counts: Mapping[str, int], page: int) -> str:
    """The page as HTML.

    :param tickets: those of this page, newest first.
    :param counts: how many tickets each project holds.
    :param page: its number, from 1.
    """
    total = sum(counts.values())
    pages = max(1, -(-total // PAGE_SIZE))
    projects = ", ".join(f"{escape(key)} {count:,}" for key, count in counts.items())
    summary = f"{total:,} tickets ({projects})" if total else "No tickets yet."
    newer = f'<a href="?page={page - 1}">Newer</a>' if page > 1 else ""
    older = f'<a href="?page={page + 1}">Older</a>' if page < pages else ""
    nav = f"<nav>{newer}<span>Page {page} of {pages}</span>{older}</nav>" if pages > 1 else ""
    rows = "".join(_row(ticket) for ticket in tickets)
    table = f"<table><thead>{_HEAD}</thead><tbody>{rows}</tbody></table>" if rows else ""
    assumed = "".join(f"<tr><td>{escape(what)}</td><td>{escape(how)}</td></tr>" for what, how in ASSUMPTIONS.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Leen sandbox</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>Leen sandbox</h1><p>{summary}</p>{table}{nav}"
        f"<details><summary>What this sandbox assumes about Leen</summary><table>{assumed}</table></details>"
        "</body></html>"
    )


_HEAD = "<tr><th>Key</th><th>Title</th><th>Type</th><th>Priority</th><th>Created</th><th>Leen</th></tr>"


def _row(ticket: Mapping[str, Any]) -> str:
    created = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ticket["created"]))
    in_leen = "known" if ticket["in_leen"] else "not synced"
    description = ticket["description"]
    more = f"<details><summary>Description</summary><pre>{escape(description)}</pre></details>" if description else ""
    return (
        f'<tr><td class="key">{escape(ticket["vendor_ticket_id"])}</td>'
        f'<td class="name">{escape(ticket["name"])}{more}</td>'
        f'<td class="fixed">{escape(ticket["type"])}</td><td class="fixed">{escape(ticket["priority"])}</td>'
        f'<td class="fixed">{created} UTC</td><td class="fixed">{in_leen}</td></tr>'
    )


def add_page(app: FastAPI, store: Store) -> None:
    """Add the page to the app."""

    @app.get("/")
    async def page(page: Annotated[int, Query(ge=1, le=1_000_000)] = 1) -> HTMLResponse:
        now = time.time()
        rows = store.newest(limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
        return HTMLResponse(render([held_ticket(row, now=now) for row in rows], store.counts(), page))
