"""YAML to Settings: read whole, checked whole, swapped whole (DESIGN rule 10).

text -> nodes -> schema -> check -> resolve, put together by `load`. A running daemon takes it from `current`,
which leaves the YAML work to a child process; neither PyYAML nor pydantic is loaded there.
"""
