"""What an operator sees: log, metrics, health, systemd."""
