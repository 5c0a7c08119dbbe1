package store

// applicationID marks the file as ours ("xcGo"): file(1) and Open look at it.
const applicationID = 0x7863476f

// migrations bring a database from version i to i+1. Released ones never
// change; new ones are added at the end.
var migrations = []string{`
CREATE TABLE meta (
	key   TEXT PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE undo (
	id      INTEGER PRIMARY KEY,
	site    TEXT NOT NULL,
	stack   TEXT NOT NULL,
	kind    TEXT NOT NULL,
	version INTEGER NOT NULL,
	data    BLOB
) STRICT;
CREATE INDEX undo_site ON undo (site, stack);

CREATE TABLE container (
	id      TEXT PRIMARY KEY,
	name    TEXT NOT NULL UNIQUE,
	created INTEGER NOT NULL, -- nanoseconds since 1970
	spec    BLOB NOT NULL,    -- JSON
	state   BLOB NOT NULL     -- JSON
) WITHOUT ROWID, STRICT;
CREATE INDEX container_created ON container (created);

CREATE TABLE image_ref (
	name       TEXT PRIMARY KEY, -- reference in full
	digest     TEXT NOT NULL,    -- of the manifest
	descriptor BLOB NOT NULL     -- JSON, as it was given
) WITHOUT ROWID, STRICT;
CREATE INDEX image_ref_digest ON image_ref (digest);
`, `
CREATE TABLE exit ( -- of containers that are removed
	id   TEXT PRIMARY KEY,
	at   INTEGER NOT NULL, -- nanoseconds since 1970
	exit BLOB NOT NULL     -- JSON
) WITHOUT ROWID, STRICT;
CREATE INDEX exit_at ON exit (at);
`, `
CREATE TABLE lease (
	pool  TEXT NOT NULL,
	addr  BLOB NOT NULL,    -- 4 or 16 bytes, which compare as addresses do
	owner TEXT,             -- NULL: in quarantine
	until INTEGER,          -- when quarantine ends: nanoseconds since 1970
	PRIMARY KEY (pool, addr)
) WITHOUT ROWID, STRICT;
CREATE INDEX lease_owner ON lease (pool, owner) WHERE owner IS NOT NULL;
CREATE INDEX lease_until ON lease (pool, until) WHERE owner IS NULL;

-- The addresses of lease as runs, none of which touches another: the address
-- after a run is free, so that the next free one is found without counting.
CREATE TABLE lease_run (
	pool  TEXT NOT NULL,
	first BLOB NOT NULL,
	last  BLOB NOT NULL,
	PRIMARY KEY (pool, first)
) WITHOUT ROWID, STRICT;
`, `
CREATE TABLE volume (
	name    TEXT PRIMARY KEY,
	created INTEGER NOT NULL, -- nanoseconds since 1970
	spec    BLOB NOT NULL,    -- JSON
	state   BLOB NOT NULL     -- JSON
) WITHOUT ROWID, STRICT;
`, `
CREATE TABLE event ( -- the oldest are removed
	id   INTEGER PRIMARY KEY,
	at   INTEGER NOT NULL, -- nanoseconds since 1970
	data BLOB NOT NULL     -- JSON
) STRICT;
`, `
CREATE TABLE network (
	id      TEXT PRIMARY KEY,
	name    TEXT NOT NULL UNIQUE,
	created INTEGER NOT NULL, -- nanoseconds since 1970
	spec    BLOB NOT NULL,    -- JSON
	ready   INTEGER NOT NULL  -- 0: it is being made or removed
) WITHOUT ROWID, STRICT;
`, `
CREATE TABLE channel (
	path    TEXT PRIMARY KEY, -- of its directory
	channel BLOB NOT NULL     -- JSON
) WITHOUT ROWID, STRICT;
`, `
-- Owners, quarantines and free addresses are found in memory.
DROP TABLE lease_run;
DROP INDEX lease_owner;
DROP INDEX lease_until;
`}
