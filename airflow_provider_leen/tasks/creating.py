"""The task that creates many tickets: drives the run, then publishes or frees the worker, then raises."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_leen.api.errors import LeenConfigError, LeenError
from airflow_provider_leen.api.text import clean_json
from airflow_provider_leen.bulk.create import Creation
from airflow_provider_leen.bulk.fitting import Fitting
from airflow_provider_leen.bulk.journal import Place
from airflow_provider_leen.bulk.ledger import Ledger
from airflow_provider_leen.bulk.reading import read_tickets
from airflow_provider_leen.bulk.register import RegisterCreation, refuse_without_identifier
from airflow_provider_leen.bulk.sending import Batching
from airflow_provider_leen.bulk.statuses import MAY_BE_SENT_AGAIN
from airflow_provider_leen.bulk.stores import Store
from airflow_provider_leen.bulk.summary import Summary, counted, summarise
from airflow_provider_leen.bulk.tickets import TicketRow, payload, prepare, read_defaults
from airflow_provider_leen.bulk.verdict import final_error
from airflow_provider_leen.links.leen import LeenTicketsLink, ticket_link
from airflow_provider_leen.tasks.deferral import end_of_waiting
from airflow_provider_leen.tasks.files import ResultsFiles, check_differs, rows_at
from airflow_provider_leen.tasks.ledger import key_scope, make_ledger, may_have_forgotten, open_store
from airflow_provider_leen.tasks.publishing import PUBLISHED_BY_A_RETRY, Publisher
from airflow_provider_leen.tasks.register import known_at, make_register_ledger, register_of
from airflow_provider_leen.tasks.running import BulkTask
from airflow_provider_leen.tasks.stopping import drive

if TYPE_CHECKING:
    from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator

log = logging.getLogger(__name__)


class CreatingTask(BulkTask[Summary]):
    """Creates the tickets of an operator."""

    operator: LeenBulkCreateTicketsOperator

    def prepare(self) -> None:
        """Read the rows and make the run."""
        operator = self.operator
        self._register = register_of(operator, self.context)
        self._embedded = bool(operator.embed_identifier) or self._register is not None
        self._store: Store | None = None if self._register else self._open_store()
        self._is_durable = self._store is None or self._store.durable
        self._defaults = read_defaults(operator.ticket_defaults)
        self._fitting = Fitting(operator.priority_map, embed_key=self._embedded)
        self._rows = self._read_rows()
        self._files: ResultsFiles | None = self.supervisor.call(self._results_files)
        self._run = self._make_run()

    def execute(self) -> Summary:
        """Do the work, publish the results, and raise if the task has to fail."""
        interruption: BaseException | None = None
        # Even with an empty list, a register may have unknown outcomes of earlier runs.
        if self._register is not None or any(row.error is None for row in self._rows):
            interruption = self._drive()
        jobs = list(self._run.jobs_under_way)
        if jobs and interruption is None and self._run.error is None:
            interruption = self._end_of_waiting(jobs)
            if interruption is None:
                self.wait_for(jobs, self._carried(), register=self._register and self._register.folder)
        return self._publish(interruption)

    def _drive(self) -> BaseException | None:
        """Do the work; return what interrupted it, if there are still results to publish."""
        interruption: BaseException | None = None
        try:
            drive(self.operator, self.client, self._run, self._run.run())
        except BaseException as error:
            if not self._run.ledger.is_open:
                raise
            interruption = error
        self.client.run(self._run.may_publish())
        return interruption

    # Preparing

    def _open_store(self) -> Store:
        operator = self.operator
        ledger_path = None if operator.ledger_path is None else str(operator.ledger_path)
        store = open_store(self.context, durable=operator.durable, ledger_path=ledger_path)
        if operator.deferrable and not store.durable:
            raise LeenConfigError(
                "`deferrable` needs a durable ledger, to find its jobs again: set `ledger_path` (Airflow below 3.3), "
                "and don't set `durable=False`."
            )
        return store

    def _read_rows(self) -> list[TicketRow]:
        from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

        # Airflow 2 has no supervisor, and the outputs of a mapped upstream can only be read in this thread.
        given = self.supervisor.call(self._given_rows) if AIRFLOW_V_3_0_PLUS else self._given_rows()
        scope = key_scope(self.context, self.client.settings)
        rows = prepare(given, self._defaults, scope, self._fitting)
        if self._register is not None:
            refuse_without_identifier(rows)
        return rows

    def _given_rows(self) -> Sequence[Any]:
        operator = self.operator
        if operator.tickets_path is not None:
            return rows_at(str(operator.tickets_path))
        if operator.tickets is None and operator.as_written("tickets_path") is not None:
            raise LeenConfigError(
                "`tickets_path` is None: the upstream task returned no path, so there is no list. Did its scan fail?"
            )
        return read_tickets(operator.tickets)

    def _results_files(self) -> ResultsFiles | None:
        """Return where the results go, ready to be written; None if they go into XCom."""
        operator = self.operator
        if operator.results_path is None or not str(operator.results_path).strip():
            return None
        tickets_path = None if operator.tickets_path is None else str(operator.tickets_path)
        files = ResultsFiles(str(operator.results_path), tickets_path)
        if self.resumed is None:
            if (self.context["ti"].map_index or 0) >= 0:
                check_differs(self.context, operator.task_id)
            files.check()
        return files

    def _make_run(self) -> Creation:
        operator, resumed = self.operator, self.resumed
        place: Place | None = None
        self._may_send_again = True
        if resumed is not None:
            # Once per try is enough.
            place, self._may_send_again = resumed.carried
        options: dict[str, Any] = {
            "on_unknown": operator.on_unknown,
            "skip_existing": operator.if_exists == "skip",
            "as_jobs": operator.deferrable,
            "resume": place,
            "may_send_again": self._may_send_again and (resumed is None or resumed.status != "timeout"),
            "refusal": self._refusal(),
            "on_progress": self.report_progress,
        }

        def body(row: TicketRow) -> dict[str, Any]:
            return payload(row, self._defaults, self._fitting)

        threads, client = self.supervisor, self.client.aio
        batching = Batching(operator.batch_size, operator.max_concurrent_batches)
        if self._register is not None:
            settings = self.client.settings
            ledger: Ledger = self.supervisor.call(make_register_ledger, self._register, self.context, settings, threads)
            known = self.supervisor.call(known_at, operator.known_path)
            return RegisterCreation(
                client, ledger, self._rows, body, batching, known=known, max_new=operator.max_new, **options
            )
        assert self._store is not None
        options["may_have_forgotten"] = may_have_forgotten(self.context, self._store) if operator.durable else None
        ledger = make_ledger(self.context, self._store, threads, embedded=self._embedded)
        return Creation(client, ledger, self._rows, body, batching, **options)

    def _refusal(self) -> LeenConfigError | None:
        """Return why the whole list is refused: a row is invalid, and the Dag's author wants all or nothing."""
        invalid = [row for row in self._rows if row.error is not None]
        if self.operator.on_invalid != "fail" or not invalid:
            return None
        first = invalid[0]
        return LeenConfigError(
            f"{len(invalid)} of {counted(len(self._rows), 'row')} can't be sent and on_invalid is 'fail', so nothing "
            f"was sent. The first is #{first.index}: {first.error}."
        )

    # Waiting for jobs

    def _end_of_waiting(self, jobs: list[str]) -> BaseException | None:
        if self.resumed is None:
            return None
        unknown = [str(result["identifier"]) for result in self._run.results() if result["status"] == "unknown"]
        return end_of_waiting(self.resumed, jobs, unknown, self.operator.execution_timeout)

    def _carried(self) -> dict[str, Any]:
        return {
            "place": asdict(self._run.ledger.place),
            "may_send_again": self._may_send_again and not self._run.sent_again,
        }

    @staticmethod
    def read_carried(carried: Any) -> tuple[Place, bool]:
        """Read the task's position in its ledger, and whether tickets with an unknown outcome may be sent again."""
        place = carried["place"]
        return Place(int(place["lease"]), str(place["token"]), int(place["values"])), carried["may_send_again"] is True

    # Publishing

    def _summary(self) -> Summary:
        summary = summarise(self._run.results())
        if isinstance(self._run, RegisterCreation):
            summary["earlier_unknown"] = self._run.earlier_unknown
            warn_of_earlier(summary["earlier_unknown"])
        return summary

    def _publish(self, interruption: BaseException | None) -> Summary:
        operator, settings = self.operator, self.client.settings
        summary = published = self._summary()
        error = interruption or final_error(
            summary,
            self._run.error,
            operator.max_failures,
            operator.max_failure_rate,
            can_be_settled=self._retry_can_settle(),
        )
        publisher = Publisher(self.context, self.supervisor)
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
            # For the tab in the UI: Airflow's API server does not need the connection.
            publisher.push("ticket_url", settings.ticket_url)
        self._close_ledger()
        self.conclude(publisher, summary, error, PUBLISHED_BY_A_RETRY if self._is_durable else None)
        return published

    def _failed_rows(self, summary: Summary) -> Iterable[Any]:
        results = summary["results"]
        for row, result in zip(self._rows, results[: len(self._rows)], strict=True):
            # Not tickets that were to be changed: they exist.
            exists = result["ticket_id"] or result["vendor_ticket_id"]
            if result["status"] in MAY_BE_SENT_AGAIN and not exists:
                yield clean_json(row.given)

    def _written(self, files: ResultsFiles, summary: Summary, failed: Iterable[Any]) -> BaseException | None:
        """Write the results' files; return the error if they can't be written."""
        results = map(clean_json, summary["results"])
        try:
            return self.supervisor.call(files.write, results, failed, durable=self._is_durable)
        except BaseException as interruption:  # raised by a signal; the XComs are published before the task ends
            return interruption

    def _close_ledger(self) -> None:
        if not self._run.ledger.is_open:
            return
        try:
            self.client.run(self._run.ledger.close())
        except LeenError as error:
            # Everything is published: if the task failed now, a retry would treat known outcomes as unknown.
            log.warning("The ledger could not be closed: %s", error)

    def _retry_can_settle(self) -> bool:
        """Return whether a retry can determine unknown outcomes, or may send those tickets again."""
        operator = self.operator
        if not operator.durable:
            return False
        if operator.on_unknown == "lookup":
            # A job may still be running, and Leen knows its tickets as soon as they exist.
            return bool(self._embedded or operator.deferrable)
        return operator.on_unknown == "resend"


def warn_of_earlier(unknown: int) -> None:
    """Warn of tickets with an unknown outcome whose findings are no longer in the list."""
    if unknown:
        log.warning(
            "The outcome of %s of an earlier run is unknown, and their findings are gone from the list. Look for the "
            "tickets in the tracker, then run `airflow leen register settle`.",
            counted(unknown, "ticket"),
        )
