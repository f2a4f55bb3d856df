"""The code that runs inside a task; operators, sensors and the notifier only declare it."""
