-- Raw octets move to segment files beside the database (relay.spool.segments); `content` keeps those of backups and of
-- older relays. segment: number of the file, NULL when the octets are in `content`; start: offset in it; `size` is there.

ALTER TABLE mails ADD COLUMN segment INTEGER;
ALTER TABLE mails ADD COLUMN start INTEGER;
CREATE INDEX mails_by_segment ON mails (segment, start, size) WHERE segment IS NOT NULL;
