"""Links from a task to its tickets."""
