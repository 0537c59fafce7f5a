-- Who is refreshing the tokens of a grant: the name of a claim, until when it is good, and the
-- revision that it is of. A gateway of before knows nothing of it and leaves it as it is, so it is
-- of no more use once the revision is another one.
ALTER TABLE grants ADD COLUMN claimed_by TEXT;
ALTER TABLE grants ADD COLUMN claimed_until BIGINT;
ALTER TABLE grants ADD COLUMN claimed_revision BIGINT;
