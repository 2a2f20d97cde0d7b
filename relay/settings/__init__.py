"""YAML to Settings: all files are read and checked before any is swapped.

text -> nodes -> schema -> check -> resolve, put together by `load`. A running daemon takes it from `current`,
which leaves the YAML work to a child process; neither PyYAML nor pydantic is loaded there.
"""
