-- Who does what one instance at a time does, and until when: another may from then on.

CREATE TABLE job_leases (
    name        TEXT PRIMARY KEY,
    holder      BLOB NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT;
