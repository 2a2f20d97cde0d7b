-- What operators ordered (a copy of their lines of the history), until the daemon has logged it: another process writes
-- it, and the mail may be purged before it is read.

CREATE TABLE operator_actions (
    id       INTEGER PRIMARY KEY,
    queue_id TEXT NOT NULL,
    number   INTEGER NOT NULL,          -- of the delivery; 0: the whole mail
    at       REAL NOT NULL,
    what     TEXT NOT NULL,
    text     TEXT NOT NULL,
    by       TEXT NOT NULL
);
