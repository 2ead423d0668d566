-- Deletes the entries of a topic of the ordered log.
--
-- KEYS[1] stream  entries of the topic
--
-- ARGV            none
--
-- RETURNS
--   OK            they are deleted
--
-- NOTES
--   The topic's last id is kept: a reader that is before it gets a gap.
local stream = KEYS[1]

redis.call('PEXPIRE', stream, 0)
return { 'OK' }
