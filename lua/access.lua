-- Names the commands that the user of this connection may not run.
--
-- KEYS[1] key      any key of this library
--
-- ARGV[1] channel  any channel of this library
-- ARGV ... permissions, each the name of a command behind '~' (it has a key), '&' (it has a channel), '#' (a script without keys)
--          or '+' (neither); '<command>|<subcommand>' is one of its subcommands
--
-- RETURNS
--   OK refused...    the permissions that are missing
--   UNKNOWN          this Redis cannot say
--
-- NOTES
--   Runs none of the commands. Redis can say it from 7.0 on. A command that Redis does not know counts as refused.
--   Valkey 9.1 crashes when it is asked for EVAL without a script and the number of its keys.
local key, channel = KEYS[1], ARGV[1]

if not redis.acl_check_cmd then return { 'UNKNOWN' } end
local reply = { 'OK' }
for i = 2, #ARGV do
  local kind, name = ARGV[i]:sub(1, 1), ARGV[i]:sub(2)
  local on = { ['~'] = { key }, ['&'] = { channel }, ['#'] = { '', '0' } }
  local command, subcommand = name:match('^([^|]+)|(.+)$')
  local known, allowed = pcall(redis.acl_check_cmd, command or name, unpack(on[kind] or { subcommand }))
  if not (known and allowed) then reply[#reply + 1] = ARGV[i] end
end
return reply
