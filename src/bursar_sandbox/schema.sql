-- The sandbox's whole state. Objects are kept as the JSON that the API answers with; `private`
-- holds what the provider knows and never shows. `parent` and `label` are what lists filter by.
CREATE TABLE IF NOT EXISTS objects (
    seq      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    object   TEXT NOT NULL,
    created  INTEGER NOT NULL,
    deleted  INTEGER NOT NULL DEFAULT 0,
    customer TEXT,
    parent   TEXT,
    label    TEXT,
    body     TEXT NOT NULL,
    private  TEXT
);
CREATE INDEX IF NOT EXISTS objects_by_kind ON objects (object);
CREATE INDEX IF NOT EXISTS objects_by_customer ON objects (object, customer)
    WHERE customer IS NOT NULL;
CREATE INDEX IF NOT EXISTS objects_by_parent ON objects (object, parent)
    WHERE parent IS NOT NULL;
CREATE INDEX IF NOT EXISTS objects_by_label ON objects (object, label)
    WHERE label IS NOT NULL;

-- Results of POST requests by Idempotency-Key; times are the sandbox's.
CREATE TABLE IF NOT EXISTS idempotency (
    key         TEXT PRIMARY KEY,
    path        TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    request_id  TEXT NOT NULL,
    status      INTEGER NOT NULL,
    body        BLOB NOT NULL,
    created     INTEGER NOT NULL
) WITHOUT ROWID;

-- Webhooks owed to endpoints; `next_at` is real time, since receivers live in it.
CREATE TABLE IF NOT EXISTS deliveries (
    id          INTEGER PRIMARY KEY,
    event_id    TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'pending',
    attempts    INTEGER NOT NULL DEFAULT 0,
    next_at     REAL NOT NULL,
    last_status INTEGER,
    last_error  TEXT
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (endpoint_id, id) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS deliveries_of_event ON deliveries (event_id);

-- Deliveries whose first attempt carries a worthless signature, on purpose.
CREATE TABLE IF NOT EXISTS forgeries (delivery_id INTEGER PRIMARY KEY);

-- What happens later by itself; `due` is the sandbox's time.
CREATE TABLE IF NOT EXISTS timers (
    id   INTEGER PRIMARY KEY,
    due  INTEGER NOT NULL,
    kind TEXT NOT NULL,
    ref  TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS timers_by_due ON timers (due);

-- The same for what lives on a test clock; `due` is that clock's time.
CREATE TABLE IF NOT EXISTS clock_timers (
    id    INTEGER PRIMARY KEY,
    clock TEXT NOT NULL,
    due   INTEGER NOT NULL,
    kind  TEXT NOT NULL,
    ref   TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS clock_timers_by_due ON clock_timers (clock, due);

-- Letters that the mail server took, byte for byte.
CREATE TABLE IF NOT EXISTS letters (
    id         INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    sender     TEXT NOT NULL,
    recipients TEXT NOT NULL,
    data       BLOB NOT NULL
);

CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
