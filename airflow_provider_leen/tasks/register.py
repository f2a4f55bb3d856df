"""A task's register: its arguments, its folder, and the file of known tickets."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_leen.api.errors import LeenConfigError, LeenLedgerError
from airflow_provider_leen.api.text import clean
from airflow_provider_leen.bulk.journal import Owner
from airflow_provider_leen.bulk.lookup import Created
from airflow_provider_leen.bulk.register_journal import RegisterJournal
from airflow_provider_leen.bulk.register_known import read_known
from airflow_provider_leen.bulk.register_ledger import RegisterLedger
from airflow_provider_leen.bulk.register_reading import Identity
from airflow_provider_leen.bulk.register_store import RegisterStore, folder_of, mark
from airflow_provider_leen.tasks.files import object_path
from airflow_provider_leen.tasks.ledger import identity_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.api.settings import LeenSettings

log = logging.getLogger(__name__)


class RegisterPlace(NamedTuple):
    """The location of a register, and the scope that a task uses.

    :param root: a folder or object-storage URL.
    :param scope: the name of the scope; empty for the default one.
    """

    root: str
    scope: str

    @property
    def folder(self) -> str:
        """The folder or URL of the scope."""
        return f"{self.root.rstrip('/')}/{folder_of(self.scope)}"


def register_of(operator: Any, context: Context) -> RegisterPlace | None:
    """Return an operator's register; None if it has none.

    :raises LeenConfigError: its arguments contradict one another, or are empty.
    """
    for name in ("register", "scope", "known_path"):
        # An empty Variable, say: without the register, or with another scope, everything would be filed again.
        if isinstance(given := getattr(operator, name), str) and not clean(given).strip():
            raise LeenConfigError(
                f"`{name}` is empty: write a value, leave it out, or let its template render to None."
            )
    root, scope, others = _text(operator.register), clean(_text(operator.scope)), []
    if not root:
        others = [name for name in ("scope", "known_path", "max_new") if _text(getattr(operator, name))]
        if others:
            raise LeenConfigError(f"`{others[0]}` needs a register: set `register`, or leave `{others[0]}` out.")
        return None
    if not operator.durable:
        raise LeenConfigError("`register` is a durable ledger: leave out `durable=False`.")
    if _text(operator.ledger_path):
        raise LeenConfigError("`register` is also the ledger: leave out `ledger_path`.")
    if operator.embed_identifier is False:
        raise LeenConfigError(
            "`register` needs the tickets' keys in their descriptions, or the outcome of a lost reply could never be "
            "determined: leave out `embed_identifier=False`."
        )
    if (context["ti"].map_index or 0) >= 0 and context["ti"].map_index is not None and not scope:
        raise LeenConfigError(
            "`register` of a mapped task needs a `scope` for each instance, such as the repository that it scans."
        )
    return RegisterPlace(root, scope)


def make_register_ledger(
    place: RegisterPlace, context: Context, settings: LeenSettings, threads: Executor
) -> RegisterLedger:
    """Return the ledger of this try, in a register, which is marked at its first use.

    It calls the store, so run it in the store's thread.
    """
    owner = Owner(identity_of(context), context["ti"].try_number)
    root = RegisterStore(object_path("register", place.root))
    try:
        is_new = mark(root, owner.task)
    except Exception as error:  # each object store has errors of its own
        raise LeenLedgerError(
            f"The register at {place.root} can't be read or written ({type(error).__name__}: {str(error)[:300]}), so "
            "nothing was sent. Fix the cause, then clear the task."
        ) from error
    if is_new:
        log.warning("New register at %s: it is empty.", place.root)
    # A UUID in capitals is the same connection.
    identity = Identity(place.scope, settings.base_url, settings.connection_id.lower())
    journal = RegisterJournal(root.at(folder_of(place.scope)), owner, identity)
    return RegisterLedger(journal, threads)


def known_at(known_path: Any) -> Mapping[str, Created]:
    """Read the tickets of ``known_path``.

    :raises LeenConfigError: they can't be read.
    """
    from airflow_provider_leen.bulk.ticket_file import file_problem
    from airflow_provider_leen.bulk.whole_file import open_regular

    path = _text(known_path)
    if not path:
        return {}
    suffix = path.lower().rpartition(".")[2]
    if suffix not in ("csv", "jsonl", "ndjson"):
        raise LeenConfigError(f"`known_path` is {path!r}: write the path of a file that ends in .csv or .jsonl.")
    try:
        with open_regular(object_path("known_path", path), follow=True) as file:
            # Airflow 2 wraps the file so that it can't be iterated over.
            return read_known(iter(file.readline, ""), is_csv=suffix == "csv")
    except (OSError, UnicodeDecodeError) as error:
        problem = file_problem(error) or f"{type(error).__name__}: {str(error)[:200]}"
    raise LeenConfigError(f"`known_path` {path!r} can't be read: {problem}. Nothing was sent.")


def _text(value: Any) -> str:
    return "" if value is None or str(value).strip() == "None" else str(value).strip()
