-- The events of a history under their present names. Reasons are another column, and keep theirs.

WITH renamed (old, new) AS (VALUES
    ('uncertain',    'outcome_unknown'),
    ('unsettled',    'attempt_unconfirmed'),
    ('late',         'delayed'),
    ('refused',      'rejected'),
    ('report_sent',  'notification_queued'),
    ('mail_corrupt', 'message_corrupt'),
    ('check_busy',   'checker_overloaded'),
    ('fault',        'internal_error'))
UPDATE history SET what = (SELECT new FROM renamed WHERE old = history.what) WHERE what IN (SELECT old FROM renamed);
