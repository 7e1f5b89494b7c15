"""What the commands share: arguments, exit codes, progress, tables."""
