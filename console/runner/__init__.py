"""What `make run` executes: engines, preparation, and every process of the Procfile under one supervisor. No Django here."""
