"""Who may see and do what with objectives, breaches, silences, channels and reports: the only way to fetch them for an actor."""
