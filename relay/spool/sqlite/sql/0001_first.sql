-- The first schema. Times are seconds since the epoch, UTC. JSON is that of relay.wire.
-- `mail` is mails.id: it ascends, so that what belongs to one mail is written side by side; a queue id is random.

CREATE TABLE mails (
    id              INTEGER PRIMARY KEY,
    queue_id        TEXT NOT NULL UNIQUE,
    arrived         REAL NOT NULL,
    message_id      TEXT NOT NULL,
    fingerprint     TEXT NOT NULL,
    hold_duplicates INTEGER NOT NULL,
    generated       INTEGER NOT NULL,
    size            INTEGER NOT NULL,
    sha256          BLOB NOT NULL,      -- relay.mime.fingerprint.content_digest of the raw octets; at first: their SHA-256
    envelope        BLOB NOT NULL,      -- JSON
    plans           BLOB NOT NULL       -- JSON; only ever appended to: a delivery's `plan` is an index into it
);
CREATE INDEX mails_by_arrival ON mails (arrived);

-- Apart from `mails`, so that looking through the queue never reads past a document.
CREATE TABLE content (
    mail INTEGER PRIMARY KEY,
    raw  BLOB NOT NULL
);

CREATE TABLE deliveries (
    mail          INTEGER NOT NULL,
    queue_id      TEXT NOT NULL,
    number        INTEGER NOT NULL,
    plan          INTEGER NOT NULL,
    recipient     TEXT,
    state         TEXT NOT NULL,
    arrived       REAL NOT NULL,
    due           REAL,                 -- next attempt; of an active delivery: end of the lease
    token         TEXT,                 -- of the claim, while active
    changed       REAL NOT NULL,        -- when `state` was last written
    attempts      INTEGER NOT NULL,
    unsettled     INTEGER NOT NULL,
    last_reply    TEXT NOT NULL,
    reason        TEXT,
    detail        TEXT NOT NULL,
    size          INTEGER NOT NULL,
    firm          TEXT,
    dossier       TEXT,
    destination   TEXT NOT NULL,
    smarthost     TEXT NOT NULL,
    reported      TEXT NOT NULL,        -- kinds, separated by a space
    generated     INTEGER NOT NULL,
    first_attempt REAL,
    PRIMARY KEY (mail, number)
) WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (due) WHERE due IS NOT NULL;
CREATE INDEX deliveries_by_state ON deliveries (state, arrived);
CREATE INDEX deliveries_by_client ON deliveries (dossier, arrived);

CREATE TABLE history (
    id       INTEGER PRIMARY KEY,
    mail     INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    at       REAL NOT NULL,
    what     TEXT NOT NULL,
    text     TEXT NOT NULL,
    by       TEXT NOT NULL
);
CREATE INDEX history_of_mail ON history (mail, id);

CREATE TABLE terms (
    term     TEXT NOT NULL,
    mail     INTEGER NOT NULL,
    plan     INTEGER NOT NULL,          -- -1: the whole mail
    PRIMARY KEY (term, mail, plan)
) WITHOUT ROWID;
CREATE INDEX terms_of_mail ON terms (mail);

-- What seals our return paths: made once, the same for the life of the spool.
CREATE TABLE secrets (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
INSERT INTO secrets (name, value) VALUES ('return_path', randomblob(32));

-- The two below outlive the mail, for their windows; they hold digests only.
CREATE TABLE fingerprints (
    fingerprint TEXT PRIMARY KEY,
    queue_id    TEXT NOT NULL,
    at          REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX fingerprints_by_time ON fingerprints (at);

CREATE TABLE documents (
    digest   TEXT NOT NULL,             -- of a document and its address
    queue_id TEXT NOT NULL,
    number   INTEGER NOT NULL,
    at       REAL NOT NULL,
    PRIMARY KEY (digest, queue_id, number)
) WITHOUT ROWID;
CREATE INDEX documents_of_mail ON documents (queue_id, number);
CREATE INDEX documents_by_time ON documents (at);
