"""The page at ``/``: the tickets that the sandbox holds, for a person's eyes. Self-contained, no key on it.

``?ticket=SEC-105`` (or Leen's id) and ``?tickets=SEC-105,SEC-106`` show those; ``?q=`` searches; ``?page=`` is the
page of a long list.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import FastAPI, Query
from fastapi.responses import HTMLResponse

from airflow_provider_leen.sandbox.app import ASSUMPTIONS
from airflow_provider_leen.sandbox.records import held_ticket
from airflow_provider_leen.sandbox.store import Store

PAGE_SIZE = 100

_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d8dee4, #30363d); --soft: light-dark(#59636e, #9198a1); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; margin: 0; } h1 a { color: inherit; text-decoration: none; }
h2 { font-size: 1.1rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
p, summary { color: var(--soft); margin: .3rem 0 1rem; }
form { margin: 0 0 1rem; display: flex; gap: .5rem; }
input { font: inherit; padding: .2rem .5rem; width: 20rem; } button { font: inherit; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.name { overflow-wrap: anywhere; }
td.fixed { white-space: nowrap; }
td.key { white-space: nowrap; font-variant-numeric: tabular-nums; font-weight: 600; }
article { border: 1px solid var(--line); border-radius: .4rem; padding: 1rem; margin: 0 0 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
pre { font: inherit; white-space: pre-wrap; overflow-wrap: anywhere; margin: 1rem 0 0; }
nav { display: flex; gap: 1rem; margin: 1rem 0 2rem; }
"""


def add_page(app: FastAPI, store: Store) -> None:
    """Add the page to the app."""

    @app.get("/")
    async def page(
        ticket: str = "", tickets: str = "", q: str = "", page: Annotated[int, Query(ge=1, le=1_000_000)] = 1
    ) -> HTMLResponse:
        names = [name.upper() for name in map(str.strip, (ticket or tickets).split(",")) if name]
        if names:
            held = _held(store.named(names))
            missing = [name for name in names if not store.named([name])]
            return HTMLResponse(render_tickets(held, missing), status_code=200 if held else 404)
        rows, total = store.matching(q, limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
        return HTMLResponse(render_list(_held(rows), store.counts(), q=q, total=total, page=page))


def _held(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [held_ticket(row) for row in rows]


def render_list(
    tickets: Sequence[Mapping[str, Any]], counts: Mapping[str, int], *, q: str, total: int, page: int
) -> str:
    """Many tickets, a line each, as HTML.

    :param tickets: those of this page, newest first.
    :param counts: how many tickets each project holds.
    :param q: what was searched for, empty for everything.
    :param total: how many tickets were found.
    :param page: its number, from 1.
    """
    projects = ", ".join(f"{escape(key)} {count:,}" for key, count in counts.items())
    summary = f"{sum(counts.values()):,} tickets ({projects})" if counts else "No tickets yet."
    if q:
        summary += f" {total:,} of them match “{escape(q)}”."
    rows = "".join(_row(ticket) for ticket in tickets)
    table = f"<table><thead>{_HEAD}</thead><tbody>{rows}</tbody></table>" if rows else ""
    return _whole(summary, table + _nav(q, page, pages=max(1, -(-total // PAGE_SIZE))), q=q)


def render_tickets(tickets: Sequence[Mapping[str, Any]], missing: Sequence[str]) -> str:
    """Some tickets, each whole, as HTML.

    :param tickets: those that were asked for and exist.
    :param missing: how the others were called.
    """
    summary = f"No such ticket: {', '.join(map(escape, missing))}." if missing else ""
    return _whole(summary, "".join(_article(ticket) for ticket in tickets))


def _whole(summary: str, content: str, *, q: str = "") -> str:
    assumed = "".join(f"<tr><td>{escape(what)}</td><td>{escape(how)}</td></tr>" for what, how in ASSUMPTIONS.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Leen sandbox</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<style>{_STYLE}</style></head><body><h1><a href="/">Leen sandbox</a></h1><p>{summary}</p>'
        f'<form action="/"><input type="search" name="q" value="{escape(q)}" aria-label="Search"'
        ' placeholder="Key, title, description, identifier"><button>Search</button></form>'
        f"{content}"
        f"<details><summary>What this sandbox assumes about Leen</summary><table>{assumed}</table></details>"
        "</body></html>"
    )


def _nav(q: str, page: int, *, pages: int) -> str:
    def link(number: int, text: str) -> str:
        query = urlencode(({"q": q} if q else {}) | {"page": number})
        return f'<a href="/?{escape(query)}">{text}</a>'

    newer = link(page - 1, "Newer") if page > 1 else ""
    older = link(page + 1, "Older") if page < pages else ""
    return f"<nav>{newer}<span>Page {page} of {pages}</span>{older}</nav>" if pages > 1 else ""


_HEAD = "<tr><th>Key</th><th>Title</th><th>Status</th><th>Type</th><th>Priority</th><th>Created</th><th>Leen</th></tr>"


def _row(ticket: Mapping[str, Any]) -> str:
    in_leen = "known" if ticket["in_leen"] else "not synced"
    return (
        f'<tr><td class="key">{_link(ticket["vendor_ticket_id"])}</td><td class="name">{escape(ticket["name"])}</td>'
        f'<td class="fixed">{escape(ticket["status"])}</td><td class="fixed">{escape(ticket["type"])}</td>'
        f'<td class="fixed">{escape(ticket["priority"])}</td><td class="fixed">{_time(ticket["created"])}</td>'
        f'<td class="fixed">{in_leen}</td></tr>'
    )


def _article(ticket: Mapping[str, Any]) -> str:
    parent = ticket["parent"]
    fields = {
        "Status": escape(ticket["status"]),
        "Priority": escape(ticket["priority"]),
        "Type": escape(ticket["type"]),
        "Assignee": escape(ticket["assignee"] or ""),
        "Parent": _link(parent) if parent else "",
        "Identifier": escape(ticket["identifier"] or ""),
        "Created": _time(ticket["created"]),
        "Changed": _time(ticket["updated"]),
        "In Leen": f"known as {escape(ticket['ticket_id'])}" if ticket["in_leen"] else "not synced",
        "Connection ID": escape(ticket["connection_id"]),
    }
    shown = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in fields.items() if value)
    description = f"<pre>{escape(ticket['description'])}</pre>" if ticket["description"] else ""
    title = f"{_link(ticket['vendor_ticket_id'])} {escape(ticket['name'])}"
    return f"<article><h2>{title}</h2><dl>{shown}</dl>{description}</article>"


def _link(key: str) -> str:
    return f'<a href="/?{urlencode({"ticket": key})}">{escape(key)}</a>'


def _time(timestamp: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(timestamp))
