"""YAML to Settings: read, checked and swapped as a whole.

yaml_file (octets, text) -> yaml_tree (positions) -> validate (against the declarations in settings, firm_file and
relay.routing.policy) -> check_relay, check_clients, uniqueness -> Settings, put together by `load`. A running daemon
uses `live`, which leaves this to a child process, reload_worker; the daemon loads neither PyYAML nor pydantic.
"""
