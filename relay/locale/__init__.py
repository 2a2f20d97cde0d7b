"""The gettext catalogue: English is the source text in the code, `fr/LC_MESSAGES` its French translation."""
