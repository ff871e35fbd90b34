"""What several importers share: reading files, films and labels, answers and reports."""
