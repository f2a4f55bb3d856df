from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.api.models import Project, User


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"key": "SEC", "vendor_attributes": {"id": "10000"}}, "SEC"),
        ({"vendor_attributes": {"id": "10000", "key": "SEC"}}, "SEC"),
        ({"vendor_attributes": {"id": "10000", "data": {"key": "SEC"}}}, "SEC"),
        ({"vendor_attributes": {"id": "SEC", "data": {"vendor": "JIRA"}}}, "SEC"),
        ({"vendor_attributes": {"id": 10000, "data": "SEC"}}, None),
        ({"vendor_attributes": {}, "key": ""}, None),
        ({"vendor_attributes": None}, None),
        ({}, None),
    ],
)
def test_a_projects_key_is_found_wherever_it_is(fields: dict[str, Any], key: str | None) -> None:
    assert Project.model_validate({"id": "p", **fields}).vendor_id == key


@pytest.mark.parametrize(
    ("attributes", "account"), [({"id": "712020:a"}, "712020:a"), ({"id": ""}, None), ({"id": 7}, None), (None, None)]
)
def test_a_users_account_is_the_vendors_id(attributes: dict[str, Any] | None, account: str | None) -> None:
    assert User.model_validate({"id": "u", "vendor_attributes": attributes}).vendor_id == account
