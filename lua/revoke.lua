-- Keeps a mark of a revocation.
--
-- KEYS[1] marks  the marks of the last time, a stream
--
-- ARGV[1] mark   the revocation as its node wrote it
-- ARGV[2] most   marks that are kept at least; far older ones go
-- ARGV[3] ms     milliseconds that this mark, and those before it, are kept
--
-- RETURNS
--   OK  kept
--
-- NOTES
--   A retry keeps the mark twice, which changes nothing: a revocation concerns connections from before it.
local marks, mark, most, ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

redis.call('XADD', marks, 'MAXLEN', '~', most, '*', 'm', mark)
redis.call('PEXPIRE', marks, ms)
return { 'OK' }
