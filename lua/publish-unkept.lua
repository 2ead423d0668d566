-- Publishes an event that is not kept, once for each idempotency key.
--
-- KEYS[1] mark        mark of a key that was published
--
-- ARGV[1] frame       bytes for the subscribers
-- ARGV[2] pubCommand  PUBLISH or SPUBLISH
-- ARGV[3] channel     channel of the topic
-- ARGV[4] ms          milliseconds the key is known
--
-- RETURNS
--   NEW    published
--   KNOWN  the key was published before; nothing was done
--
-- NOTES
--   Marked first: when Redis is out of memory nothing is published. Where Redis refuses the publication the mark ends, so
--   that the next try publishes; by PEXPIRE, since the least account need not have DEL.
local mark = KEYS[1]
local frame, pubCommand, channel, ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if not redis.call('SET', mark, '1', 'PX', ms, 'NX') then return { 'KNOWN' } end
local published = redis.pcall(pubCommand, channel, frame)
if type(published) == 'table' then
  redis.call('PEXPIRE', mark, 0)
  return published
end
return { 'NEW' }
