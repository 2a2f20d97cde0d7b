"""Spool on one SQLite file in WAL mode, with the octets of messages in segment files beside it.

opening         start: lock, migration, a damaged file set aside
engine          `SqliteSpool`: the operations, and which thread runs each
transactions    claim, settle, operators' actions, replan; which deliveries are due
insert          storing messages: resubmissions, duplicate documents, new deliveries
queries         find, count, statistics, purge
rows            values to rows and back
writer_thread   group commit: many operations, one fsync
checkpoint      copying the log back into the database
database        file, schema, migrations (sql/); what an error of SQLite means
raw_messages    writing and reading the octets of messages
segments        the files they are in, and giving their space back
spool_folder    lock, permissions, file system, durable names
disk_space      when a full disk refuses messages; what is reserved for those queued
backup          backup and restore
integrity       verifying a spool; salvaging a damaged one
"""
