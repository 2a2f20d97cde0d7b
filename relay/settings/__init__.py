"""YAML to Settings: read whole, checked whole, swapped whole."""
