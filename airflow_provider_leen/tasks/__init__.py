"""What runs inside a task; operators, sensors and the notifier declare it."""
