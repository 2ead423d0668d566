-- Time of every script: the clock of the Redis that runs it. `now` in milliseconds, `nowMicros` in microseconds.
local clock = redis.call('TIME')
local nowMicros = clock[1] * 1000000 + clock[2]
local now = math.floor(nowMicros / 1000)
