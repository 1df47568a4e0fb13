-- Lists that would look at every row. Affiliates look at their own, and many have few; what is not approved or not available
-- may be rare. The other lists end where those began whom they are about, or use an index that is there for other reasons.

CREATE INDEX conversions_affiliate ON conversions (affiliate_id, id);
CREATE INDEX commissions_affiliate ON commissions (affiliate_id, id);
CREATE INDEX conversions_unapproved ON conversions (status, id) WHERE status <> 'approved';
CREATE INDEX commissions_unavailable ON commissions (state, id) WHERE state <> 'available';
