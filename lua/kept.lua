-- Counts the entries of a topic of the ordered log.
--
-- KEYS[1] stream  entries of the topic
--
-- ARGV            none
--
-- RETURNS
--   OK entries    how many there are
--
-- NOTES
--   Changes nothing. Entries whose time is over count until the next publication to the topic trims them.
local stream = KEYS[1]

return { 'OK', redis.call('XLEN', stream) }
