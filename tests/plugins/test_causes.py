from __future__ import annotations

from airflow_provider_leen.plugins.causes import Causes


def causes_of(*errors: str) -> Causes:
    causes = Causes()
    for error in errors:
        causes.add(error)
    return causes


def test_errors_that_differ_only_in_numbers_are_one_and_can_be_searched() -> None:
    long = [f"The summary is {length} characters long; Jira takes at most 255." for length in (300, 301, 4000)]
    assert causes_of(*long, "alone").shared() == [
        {
            "error": "The summary is … characters long; Jira takes at most 255.",
            "count": 3,
            "sought": "characters long; Jira takes at most 255.",
        }
    ]


def test_what_was_counted_in_parts_adds_up() -> None:
    causes = causes_of("status 500", "lost")
    causes.update(causes_of("status 500", "status 502", "lost", "lost"))
    assert [(cause["error"], cause["count"]) for cause in causes.shared()] == [("status …", 3), ("lost", 3)]


def test_ten_thousand_different_errors_are_not_all_held() -> None:
    assert len(causes_of(*(f"error {'x' * number}" for number in range(1000)))) == 200


def test_a_long_error_is_searched_by_as_much_as_the_filter_accepts() -> None:
    assert len(str(causes_of(*["x" * 1000] * 2).shared()[0]["sought"])) == 200
