"""`curlvpr data traces`: gold traces for the tasks of a set."""
