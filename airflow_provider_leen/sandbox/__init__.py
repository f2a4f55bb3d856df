"""A local Leen API to try, test and break things against (extra ``sandbox``). Imports nothing from Airflow."""
