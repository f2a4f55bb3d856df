"""What happens inside a task that creates many tickets: drive the run, then publish or free the worker, then raise."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_leen.api.errors import LeenConfigError, LeenError
from airflow_provider_leen.api.text import clean_json
from airflow_provider_leen.bulk.create import Creation
from airflow_provider_leen.bulk.stores import Store
from airflow_provider_leen.bulk.summary import Summary, closing_table, counted, summarise
from airflow_provider_leen.bulk.tickets import TicketRow, payload, prepare, read_defaults, read_tickets
from airflow_provider_leen.bulk.verdict import final_error, left_to_the_gate
from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.links.leen import LeenTicketsLink, ticket_link
from airflow_provider_leen.tasks.deferral import Resumed, carried, end_of_waiting, read_event, waiting_ends_at
from airflow_provider_leen.tasks.files import ResultsFiles, check_differs, rows_at
from airflow_provider_leen.tasks.ledger import key_scope, make_ledger, may_have_forgotten, open_store
from airflow_provider_leen.tasks.lineage import NAME, counts_in
from airflow_provider_leen.tasks.publishing import PUBLISHED_BY_A_RETRY, Publisher
from airflow_provider_leen.tasks.stopping import drive, fail_without_retry
from airflow_provider_leen.tasks.supervisor import SupervisorThread

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.api.sync_client import LeenClient
    from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator

log = logging.getLogger(__name__)

KNOWN_NOT_TO_EXIST = ("rejected", "invalid", "unsent")
"""The statuses of tickets that may safely be sent again."""


def create_tickets(operator: LeenBulkCreateTicketsOperator, context: Context) -> Summary:
    """Create the tickets of an operator, publish the results, and raise when the task has to fail."""
    return _run(operator, context, None)


def go_on_creating(operator: LeenBulkCreateTicketsOperator, context: Context, event: Any) -> Summary:
    """Go on after the trigger: collect what the jobs did, publish it, and raise when the task has to fail."""
    with fail_without_retry():
        resumed = read_event(event)
    return _run(operator, context, resumed)


def _run(operator: LeenBulkCreateTicketsOperator, context: Context, resumed: Resumed | None) -> Summary:
    with (
        fail_without_retry(),
        SupervisorThread() as supervisor,
        LeenHook(operator.leen_conn_id, connection_id=operator.connection_id) as hook,
    ):
        return _CreatingTask(operator, context, supervisor, hook.get_conn(), resumed).execute()


class _CreatingTask:
    """One process of one try.

    :param resumed: what the trigger's event says, where the task has waited for its jobs.
    """

    def __init__(
        self,
        operator: LeenBulkCreateTicketsOperator,
        context: Context,
        supervisor: SupervisorThread,
        client: LeenClient,
        resumed: Resumed | None,
    ) -> None:
        self._operator = operator
        self._context = context
        self._supervisor = supervisor
        self._client = client
        self._resumed = resumed
        self._store: Store = open_store(
            context,
            durable=operator.durable,
            ledger_path=None if operator.ledger_path is None else str(operator.ledger_path),
        )
        if operator.deferrable and not self._store.durable:
            raise LeenConfigError(
                "`deferrable` needs a durable ledger, to find its jobs again: set `ledger_path` (Airflow below 3.3), "
                "and don't set `durable=False`."
            )
        self._defaults = read_defaults(operator.ticket_defaults)
        self._rows = self._read_rows()
        self._files: ResultsFiles | None = supervisor.call(self._results_files)
        self._run = self._make_run()

    def execute(self) -> Summary:
        """Do the work; publish what is known; raise when the task has to fail."""
        interruption: BaseException | None = None
        if any(row.error is None for row in self._rows):
            try:
                drive(self._operator, self._client, self._run, self._run.run())
            except BaseException as error:
                if not self._run.is_open:
                    raise
                interruption = error
            self._client.run(self._run.may_publish())
        jobs = self._run.jobs_under_way
        if jobs and interruption is None and self._run.error is None:
            interruption = self._end_of_waiting(jobs)
            if interruption is None:
                self._wait_for(jobs)
        return self._publish(interruption)

    # Preparing

    def _read_rows(self) -> list[TicketRow]:
        from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

        # Airflow 2 has no supervisor, and what a mapped upstream gave can be read there in this very thread only.
        given = self._supervisor.call(self._given_rows) if AIRFLOW_V_3_0_PLUS else self._given_rows()
        scope = key_scope(self._context, self._client.settings)
        return prepare(given, self._defaults, scope, embed_keys=self._operator.embed_identifier)

    def _given_rows(self) -> Sequence[Any]:
        operator = self._operator
        return read_tickets(operator.tickets) if operator.tickets_path is None else rows_at(str(operator.tickets_path))

    def _results_files(self) -> ResultsFiles | None:
        """Return where the results go, ready to be written; None where they go into XCom."""
        operator = self._operator
        if operator.results_path is None or not str(operator.results_path).strip():
            return None
        tickets_path = None if operator.tickets_path is None else str(operator.tickets_path)
        files = ResultsFiles(str(operator.results_path), tickets_path)
        if self._resumed is None:
            if (self._context["ti"].map_index or 0) >= 0:
                check_differs(self._context, operator.task_id)
            files.begin()
        return files

    def _make_run(self) -> Creation:
        operator, resumed = self._operator, self._resumed
        embedded = operator.embed_identifier
        push = self._context["ti"].xcom_push
        return Creation(
            self._client.aio,
            make_ledger(self._context, self._store, self._supervisor.executor, embedded=embedded),
            self._rows,
            lambda row: payload(row, self._defaults, embed_key=embedded),
            batch_size=operator.batch_size,
            max_concurrent_batches=operator.max_concurrent_batches,
            on_unknown=operator.on_unknown,
            skip_existing=operator.if_exists == "skip",
            as_jobs=operator.deferrable,
            resume=resumed.place if resumed else None,
            may_send_again=resumed is None or (resumed.may_send_again and resumed.status != "timeout"),
            refusal=self._refusal(),
            may_have_forgotten=may_have_forgotten(self._context, self._store) if operator.durable else None,
            on_progress=lambda progress: self._supervisor.begin(push, key="progress", value=progress),
        )

    def _refusal(self) -> LeenConfigError | None:
        """Say why the whole list is refused: a row of it is invalid, and the Dag's author wants all or nothing."""
        invalid = [row for row in self._rows if row.error is not None]
        if self._operator.on_invalid != "fail" or not invalid:
            return None
        first = invalid[0]
        return LeenConfigError(
            f"{len(invalid)} of {counted(len(self._rows), 'row')} can't be sent and on_invalid='fail', so nothing was "
            f"sent. The first is #{first.index}: {first.error}."
        )

    # Waiting for jobs

    def _end_of_waiting(self, jobs: list[str]) -> BaseException | None:
        if self._resumed is None:
            return None
        unknown = [str(result["identifier"]) for result in self._run.results() if result["status"] == "unknown"]
        return end_of_waiting(self._resumed, jobs, unknown, self._operator.execution_timeout)

    def _wait_for(self, jobs: list[str]) -> NoReturn:
        """Free the worker until the jobs have ended."""
        from airflow_provider_leen.triggers.leen import LeenJobsTrigger

        operator = self._operator
        log.info(
            "Waiting for %s, and freeing the worker meanwhile: %s", counted(len(jobs), "job"), ", ".join(jobs[:20])
        )
        may_send_again = not self._run.sent_again and (self._resumed is None or self._resumed.may_send_again)
        operator.defer(
            trigger=LeenJobsTrigger(
                operator.leen_conn_id,
                operator.connection_id,
                jobs,
                operator.poll_interval,
                waiting_ends_at(self._context["ti"].start_date, operator.execution_timeout),
                carried(self._run.ledger.place, may_send_again=may_send_again),
            ),
            method_name="execute_complete",
        )
        raise AssertionError("defer() raises")

    # Publishing

    def _publish(self, interruption: BaseException | None) -> Summary:
        operator, settings = self._operator, self._client.settings
        summary = published = summarise(self._run.results())
        error = interruption or final_error(
            summary,
            self._run.error,
            operator.max_failures,
            operator.max_failure_rate,
            can_be_settled=self._retry_can_settle(),
        )
        publisher = Publisher(self._context, self._supervisor)
        failed = self._failed_rows(summary)
        if self._files is None:
            publisher.push("failed_tickets", list(failed))
        else:
            published = self._files.without_results(summary)
            if unwritten := self._written(self._files, summary, failed):
                log.error("%s", unwritten)
                error = error or unwritten
            else:
                publisher.push("failed_tickets", self._files.failed_path)
        publisher.push("return_value", published)
        operator.ticket_link = ticket_link(settings, summary["results"])
        if operator.ticket_link:
            publisher.push(LeenTicketsLink.xcom_key, operator.ticket_link)
        if settings.ticket_url:
            # For the tab in the UI: Airflow's API server must not need the connection.
            publisher.push("ticket_url", settings.ticket_url)
        self._close_ledger()
        operator.counts = counts_in(summary)
        # The task's own logger: Airflow 3 drops the fields of lines that other loggers write.
        operator.log.info(
            "Results of %s:\n%s",
            counted(summary["total"], "ticket"),
            closing_table(summary),
            extra={NAME: operator.counts},
        )
        publisher.conclude(error, PUBLISHED_BY_A_RETRY if self._store.durable else None)
        if warning := left_to_the_gate(summary, operator.max_failures, operator.max_failure_rate):
            log.warning(warning)
        return published

    def _failed_rows(self, summary: Summary) -> Iterable[Any]:
        results = summary["results"]
        for row, result in zip(self._rows, results[: len(self._rows)], strict=True):
            if result["status"] in KNOWN_NOT_TO_EXIST:
                yield clean_json(row.given)

    def _written(self, files: ResultsFiles, summary: Summary, failed: Iterable[Any]) -> BaseException | None:
        """Write the results' files; return what kept them from being written, if anything did."""
        results = map(clean_json, summary["results"])
        try:
            return self._supervisor.call(files.write, results, failed, remembered=self._store.durable)
        except BaseException as interruption:  # raised by a signal; the XComs are published before the task ends
            return interruption

    def _close_ledger(self) -> None:
        if not self._run.is_open:
            return
        try:
            self._client.run(self._run.ledger.close())
        except LeenError as error:
            # All is published: failing now would only make a retry doubt what is known.
            log.warning("The ledger could not be closed: %s", error)

    def _retry_can_settle(self) -> bool:
        """Say whether a retry can find out about tickets with an unknown outcome, or may send them again."""
        operator = self._operator
        if not operator.durable:
            return False
        if operator.on_unknown == "lookup":
            # A job may go on, and Leen knows its tickets as soon as they exist.
            return bool(operator.embed_identifier or operator.deferrable)
        return operator.on_unknown == "resend"
