-- A claim asks what is due for one destination, so that a long queue of one that is full is never looked through.

DROP INDEX deliveries_due;
CREATE INDEX deliveries_due ON deliveries (destination, due) WHERE due IS NOT NULL;
