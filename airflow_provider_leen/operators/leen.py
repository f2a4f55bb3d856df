"""Operators that create tickets through Leen."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.text import clean_json
from airflow_provider_leen.links.leen import LeenTicketsLink, ticket_link
from airflow_provider_leen.operators.ending import Interruptible, failing_for_good
from airflow_provider_leen.operators.supervisor import SupervisorThread
from airflow_provider_leen.operators.waiting import end_of_waiting, read_event, results_before_waiting, waiting_ends_at
from airflow_provider_leen.tasks.arguments import (
    FLAG,
    SECONDS,
    THRESHOLDS,
    Argument,
    check_literals,
    choice,
    whole_number,
)
from airflow_provider_leen.tasks.templates import RendersOnce

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_leen.api.settings import LeenSettings
    from airflow_provider_leen.api.sync_client import LeenClient
    from airflow_provider_leen.bulk.runner import BulkRun
    from airflow_provider_leen.bulk.summary import Summary
    from airflow_provider_leen.bulk.tickets import TicketRow
    from airflow_provider_leen.operators.files import ResultsFiles

KNOWN_NOT_TO_EXIST = ("rejected", "invalid", "unsent")
"""The statuses of tickets that may safely be sent again."""

PUBLISHED_BY_A_RETRY = "A retry publishes them, and sends nothing again that exists."


class LeenBulkCreateTicketsOperator(RendersOnce, Interruptible, BaseOperator):
    """Create a ticket for every row of a list, in batches, through ``POST /itsm/tickets/bulk/sync``.

    Every row has a result, whatever happens: a bad ticket is reported and does not sink its batch, and what is known is
    published before the task fails.

    All arguments are templated. Text of the Dag file is rendered, once; the text of a finding never is. A flag or a
    number that a template yields as text is parsed.

    :param tickets: the tickets, by Leen's field names (templated): a list of mappings, an upstream task's output, a
        mapped upstream's outputs (tickets, or lists of tickets), one mapping, a text that holds JSON or a Python
        literal, or a list of several tasks' outputs: lists and single tickets are joined, None is nothing. Either this
        or ``tickets_path``.
    :param tickets_path: a file or object-storage URL, or a path object, that ends in ``.json`` (an array) or ``.jsonl``
        (one ticket a line), read at run time, so that a very large list need not pass through XCom (templated).
    :param ticket_defaults: fields laid under every ticket, such as the project and the type (templated). A ticket's
        own fields beat them.
    :param leen_conn_id: the Airflow connection, default ``leen_default`` (templated).
    :param connection_id: the Leen connection ID to use instead of the connection's login (templated).
    :param batch_size: tickets a call, 1 to 50, default 50 (templated).
    :param max_concurrent_batches: calls in flight at most, default 4; 1 keeps the order in the tracker (templated).
    :param on_invalid: what to do about rows that can't be sent: ``report`` (default) sends the others, ``fail``
        refuses the whole list before anything is sent (templated).
    :param on_unknown: what to do about tickets that were sent without an answer, in this try or an earlier one
        (templated): ``lookup`` (default) asks Leen, and with ``embed_identifier`` the vendor, too, and sends again what
        surely does not exist; ``fail`` never asks; ``resend`` asks, then sends again what was not found, which may
        create it twice. What stays unknown fails the task.
    :param if_exists: what to do about a ticket whose own identifier Leen knows already (templated): ``create``
        (default) creates another, ``skip`` reports it as ``existing`` with its ids. A closed ticket counts as existing.
        Leen does not know tickets that were created with vendor ids before the connector's next sync.
    :param embed_identifier: append the ticket's key as the last line of its description, so that the vendor can be
        searched for it, default False (templated). Only with it can every unknown outcome be settled.
    :param max_failures: publish the results, then fail when more tickets than this failed; default: the gate decides
        (templated).
    :param max_failure_rate: the same as a share of the total, 0 to 1; default: the gate decides (templated).
    :param results_path: an absolute path or an object-storage URL of a file that the results go to, as JSON Lines,
        instead of into XCom, for very large lists (templated). ``results`` is then empty, ``results_path`` says where
        they are, the failed rows go to ``<results_path>.failed.jsonl``, and the XCom ``failed_tickets`` is that path,
        ready to be another operator's ``tickets_path``. Another try overwrites both. Where the operator is mapped,
        write ``{{ ti.map_index }}`` into it.
    :param durable: remember across retries what was sent and what came back, default True (templated). Without it a
        retry sends everything again.
    :param ledger_path: an object-storage URL or a folder, reached by all workers, in which to remember (templated).
        Default: Airflow's task state store (Airflow 3.3 and newer); below that, nothing is remembered without it, and a
        retry takes every ticket for sent without an answer.
    :param deferrable: submit each batch as a job of Leen's (``POST /itsm/tickets/bulk``) and free the worker until the
        jobs have ended, default False (templated). Another endpoint: Leen stores such tickets at once, and tells no
        vendor id, so that ``ticket_id`` and ``vendor_ticket_id`` are looked up and may stay null. Needs a ledger that
        lasts.
    :param poll_interval: seconds between two rounds of asking for the jobs, default 10; ``deferrable`` only
        (templated).
    :return: the summary: ``total``, ``succeeded``, ``failed``, a count for each status (``created``, ``existing``,
        ``rejected``, ``invalid``, ``unknown``, ``unsent``), and ``results``, one for each row in the order of the
        input, each with ``request_index``, ``success``, ``status``, ``name``, ``identifier``, ``ticket_id`` (null when
        vendor ids were used), ``vendor_ticket_id`` and ``error``. The XCom ``failed_tickets`` holds the failed rows as
        given that are known not to exist, ready to be another operator's ``tickets``.
    :raises AirflowFailException: from :class:`LeenAuthError`, :class:`LeenConfigError`, :class:`LeenNotFoundError`,
        :class:`LeenValidationError` or :class:`LeenThresholdError`, which a retry can't mend.
    :raises LeenLedgerError: what was sent can't be read or recorded, so nothing more is sent.
    :raises LeenOutcomeUnknownError: tickets were sent and nobody can say whether they exist; it names them.
    :raises LeenConnectError: Leen can't be reached; what is left was not sent.
    :raises LeenRateLimitError: Leen asks to wait for longer than the connection allows.
    :raises LeenServerError: Leen fails again and again; what is left was not sent.
    :raises LeenStoppedError: the task was stopped from outside with tickets left.
    """

    argument_checks: ClassVar[dict[str, Argument]] = {
        "batch_size": whole_number(1, 50),
        "max_concurrent_batches": whole_number(1),
        "on_invalid": choice("report", "fail"),
        "on_unknown": choice("lookup", "fail", "resend"),
        "if_exists": choice("create", "skip"),
        "embed_identifier": FLAG,
        **THRESHOLDS,
        "durable": FLAG,
        "deferrable": FLAG,
        "poll_interval": SECONDS,
    }
    template_fields: Sequence[str] = (
        "tickets",
        "tickets_path",
        "ticket_defaults",
        "leen_conn_id",
        "connection_id",
        "results_path",
        "ledger_path",
        *argument_checks,
    )
    rendered_to_objects: ClassVar[frozenset[str]] = frozenset({"tickets", "ticket_defaults"})
    joined_fields: ClassVar[frozenset[str]] = frozenset({"tickets"})
    template_fields_renderers: ClassVar[dict[str, str]] = {"tickets": "json", "ticket_defaults": "json"}
    operator_extra_links = (LeenTicketsLink(),)
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        tickets: Any = None,
        tickets_path: str | os.PathLike[str] | None = None,
        ticket_defaults: Any = None,
        leen_conn_id: str = "leen_default",
        connection_id: str | None = None,
        batch_size: int | str = 50,
        max_concurrent_batches: int | str = 4,
        on_invalid: str = "report",
        on_unknown: str = "lookup",
        if_exists: str = "create",
        embed_identifier: bool | str = False,
        max_failures: int | str | None = None,
        max_failure_rate: float | str | None = None,
        results_path: str | os.PathLike[str] | None = None,
        durable: bool | str = True,
        ledger_path: str | os.PathLike[str] | None = None,
        deferrable: bool | str = False,
        poll_interval: float | str = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (tickets is None) == (tickets_path is None):
            raise LeenConfigError("Write either `tickets` or `tickets_path`, one of the two.")
        self.tickets = tickets
        self.tickets_path = tickets_path
        self.ticket_defaults = ticket_defaults
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.batch_size: Any = batch_size
        self.max_concurrent_batches: Any = max_concurrent_batches
        self.on_invalid = on_invalid
        self.on_unknown = on_unknown
        self.if_exists = if_exists
        self.embed_identifier: Any = embed_identifier
        self.max_failures: Any = max_failures
        self.max_failure_rate: Any = max_failure_rate
        self.results_path = results_path
        self.durable: Any = durable
        self.ledger_path = ledger_path
        self.deferrable: Any = deferrable
        self.poll_interval: Any = poll_interval
        check_literals(self, self.argument_checks)
        self.ticket_link: str | None = None
        self._counts: dict[str, int] | None = None
        self._files: ResultsFiles | None = None

    def execute(self, context: Context) -> Summary:
        """Create the tickets; publish what became of them; raise when the task has to fail."""
        return self._create(context)

    def execute_complete(self, context: Context, event: Any = None) -> Summary:
        """Go on after the trigger: collect what became of the jobs, publish it, raise when the task has to fail."""
        return self._create(context, resumed_by=read_event(event))

    def execute_complete_again(self, context: Context, event: Any = None) -> Summary:
        """Go on after a further wait, for tickets that were sent again: once in a try is enough."""
        return self._create(context, resumed_by=read_event(event), may_send_again=False)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Tell OpenLineage how many tickets ended how, after a failure, too.

        :param task_instance: the one that has ended.
        :return: the run facet ``leen_tickets``, with the counts of the summary.
        """
        from airflow_provider_leen.operators.counts import lineage_of

        return lineage_of(self._counts)

    def _read_rows(self) -> Sequence[Any]:
        from airflow_provider_leen.bulk.tickets import read_tickets
        from airflow_provider_leen.operators.files import rows_at

        return read_tickets(self.tickets) if self.tickets_path is None else rows_at(str(self.tickets_path))

    def _results_files(self, context: Context, *, resumed: bool) -> ResultsFiles | None:
        """Return where the results go, ready to be written; None where they go into XCom."""
        from airflow_provider_leen.operators.files import ResultsFiles, check_differs

        if self.results_path is None or not str(self.results_path).strip():
            return None
        tickets_path = None if self.tickets_path is None else str(self.tickets_path)
        files = ResultsFiles(str(self.results_path), tickets_path)
        if not resumed:
            if (context["ti"].map_index or 0) >= 0:
                check_differs(context, self.task_id)
            files.begin()
        return files

    def _create(
        self, context: Context, *, resumed_by: dict[str, Any] | None = None, may_send_again: bool = True
    ) -> Summary:
        from airflow_provider_leen.hooks.leen import LeenHook

        with (
            failing_for_good(),
            SupervisorThread() as supervisor,
            LeenHook(self.leen_conn_id, connection_id=self.connection_id) as hook,
        ):
            client = hook.get_conn()
            timed_out = resumed_by is not None and resumed_by["status"] == "timeout"
            rows, run = self._prepare(
                context,
                supervisor,
                client,
                resumed=resumed_by is not None,
                may_send_again=may_send_again and not timed_out,
            )
            self._files = supervisor.call(self._results_files, context, resumed=resumed_by is not None)
            interruption: BaseException | None = None
            if any(row.error is None for row in rows):
                try:
                    self._drive(client, run, run.run())
                except BaseException as error:
                    interruption = error
            jobs = run.jobs_under_way
            if interruption is None and run.error is None and jobs:
                if resumed_by is not None:
                    interruption = end_of_waiting(resumed_by, jobs, run.unknown, self.execution_timeout)
                if interruption is None:
                    # Returns only when what is known can't be kept meanwhile.
                    again = run.sent_again or not may_send_again
                    interruption = self._wait_for_jobs(context, supervisor, run, jobs, again=again)
            return self._publish(context, supervisor, client.settings, run, rows, interruption)

    def _prepare(
        self,
        context: Context,
        supervisor: SupervisorThread,
        client: LeenClient,
        *,
        resumed: bool,
        may_send_again: bool,
    ) -> tuple[list[TicketRow], BulkRun]:
        from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

        from airflow_provider_leen.bulk.ledger import Journal
        from airflow_provider_leen.bulk.lookup import final_after
        from airflow_provider_leen.bulk.runner import BulkRun
        from airflow_provider_leen.bulk.tickets import payload, prepare, read_defaults
        from airflow_provider_leen.operators.task_instance import earlier_try_since, key_scope, ledger_store

        # Airflow 2 has no supervisor, and what a mapped upstream gave can be read there in this very thread only.
        given = supervisor.call(self._read_rows) if AIRFLOW_V_3_0_PLUS else self._read_rows()
        defaults = read_defaults(self.ticket_defaults)
        rows = prepare(given, defaults, key_scope(context, client.settings), embed_keys=self.embed_identifier)
        store = ledger_store(context, durable=self.durable, ledger_path=self.ledger_path)
        if self.deferrable and not store.remembers:
            raise LeenConfigError(
                "`deferrable` needs a ledger that lasts, to find its jobs again: set `ledger_path` (Airflow below "
                "3.3), and don't set `durable=False`."
            )
        after = final_after(client.settings, as_job=self.deferrable)
        run = BulkRun(
            client.aio,
            Journal(store, supervisor.executor, final_after=after, embedded=self.embed_identifier),
            rows,
            lambda row: payload(row, defaults, embed_key=self.embed_identifier),
            batch_size=self.batch_size,
            max_concurrent_batches=self.max_concurrent_batches,
            on_unknown=self.on_unknown,
            skip_existing=self.if_exists == "skip",
            as_jobs=self.deferrable,
            refusal=self._refusal(rows),
            resumed_from=supervisor.call(results_before_waiting, context) if resumed else None,
            may_send_again=may_send_again,
            on_progress=lambda progress: supervisor.begin(context["ti"].xcom_push, key="progress", value=progress),
            earlier_try_since=earlier_try_since(context, store) if self.durable else None,
        )
        return rows, run

    def _wait_for_jobs(
        self, context: Context, supervisor: SupervisorThread, run: BulkRun, jobs: list[str], *, again: bool
    ) -> BaseException:
        """Free the worker until the jobs have ended; what is known by now is kept meanwhile.

        :return: why it can't be kept.
        """
        from airflow_provider_leen.bulk.summary import counted, summarise
        from airflow_provider_leen.operators.publishing import Publisher
        from airflow_provider_leen.triggers.leen import LeenJobsTrigger

        summary = summarise(run.results())
        if self._files is not None:
            if unwritten := _written(supervisor, self._files, summary, [], remembered=True):
                return unwritten
            summary = self._files.without_results(summary)
        publisher = Publisher(context, supervisor)
        publisher.push("return_value", summary)
        if unkept := publisher.problem(PUBLISHED_BY_A_RETRY):
            return unkept
        deadline = waiting_ends_at(context["ti"].start_date, self.execution_timeout)
        self.log.info(
            "Waiting for %s, and freeing the worker meanwhile: %s", counted(len(jobs), "job"), ", ".join(jobs[:20])
        )
        self.defer(
            trigger=LeenJobsTrigger(self.leen_conn_id, self.connection_id, jobs, self.poll_interval, deadline),
            # Not told by an argument: dag.test() drops what a deferral hands over beside the event.
            method_name="execute_complete_again" if again else "execute_complete",
        )
        raise AssertionError("defer() raises")

    def _refusal(self, rows: list[TicketRow]) -> LeenConfigError | None:
        """Say why the whole list is refused: a row of it is invalid, and the Dag's author wants all or nothing."""
        invalid = [row for row in rows if row.error is not None]
        if self.on_invalid != "fail" or not invalid:
            return None
        from airflow_provider_leen.bulk.summary import counted

        first = invalid[0]
        return LeenConfigError(
            f"{len(invalid)} of {counted(len(rows), 'row')} can't be sent and on_invalid='fail', so nothing was sent. "
            f"The first is #{first.index}: {first.error}."
        )

    def _publish(
        self,
        context: Context,
        supervisor: SupervisorThread,
        settings: LeenSettings,
        run: BulkRun,
        rows: list[TicketRow],
        interruption: BaseException | None,
    ) -> Summary:
        from airflow_provider_leen.bulk.summary import closing_table, counted, summarise
        from airflow_provider_leen.bulk.verdict import final_error, left_to_the_gate
        from airflow_provider_leen.operators.counts import NAME, counts_in
        from airflow_provider_leen.operators.publishing import Publisher

        summary = published = summarise(run.results())
        failed: Iterable[Any] = (
            clean_json(row.given)
            for row, result in zip(rows, summary["results"], strict=True)
            if result["status"] in KNOWN_NOT_TO_EXIST
        )
        self._counts = counts_in(summary)
        error = interruption or final_error(
            summary,
            run.error,
            self.max_failures,
            self.max_failure_rate,
            can_be_settled=self._retry_can_settle(),
        )
        publisher = Publisher(context, supervisor)
        if self._files is None:
            publisher.push("failed_tickets", list(failed))
        else:
            published = self._files.without_results(summary)
            unwritten = _written(supervisor, self._files, summary, failed, remembered=run.is_remembered)
            if unwritten is None:
                publisher.push("failed_tickets", self._files.failed_path)
            else:
                self.log.error("%s", unwritten)
                error = error or unwritten
        publisher.push("return_value", published)
        self.ticket_link = ticket_link(settings, summary["results"])
        if self.ticket_link:
            publisher.push(LeenTicketsLink.xcom_key, self.ticket_link)
        if settings.ticket_url:
            # For the tab in the UI: Airflow's API server must not need the connection.
            publisher.push("ticket_url", settings.ticket_url)
        self.log.info(
            "What became of %s:\n%s",
            counted(summary["total"], "ticket"),
            closing_table(summary),
            extra={NAME: self._counts},
        )
        publisher.conclude(error, PUBLISHED_BY_A_RETRY if run.is_remembered else None)
        if warning := left_to_the_gate(summary, self.max_failures, self.max_failure_rate):
            self.log.warning(warning)
        return published

    def _retry_can_settle(self) -> bool:
        """Say whether a retry can find out what became of tickets with an unknown outcome, or may send them again."""
        if not self.durable:
            return False
        if self.on_unknown == "lookup":
            # A job may go on, and Leen knows its tickets as soon as they exist.
            return bool(self.embed_identifier or self.deferrable)
        return self.on_unknown == "resend"


def _written(
    supervisor: SupervisorThread, files: ResultsFiles, summary: Summary, failed: Iterable[Any], *, remembered: bool
) -> BaseException | None:
    """Write the results' files; return what kept them from being written, if anything did."""
    try:
        return supervisor.call(files.write, map(clean_json, summary["results"]), failed, remembered=remembered)
    except BaseException as interruption:  # raised by a signal; the XComs are published before the task ends
        return interruption
