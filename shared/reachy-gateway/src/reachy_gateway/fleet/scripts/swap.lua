-- Replace the entry that has this token, and send a letter to the gateway that had the robot.
-- KEYS: the robot. ARGV: token that was read ('' for none), token, owner, sealed, ttl in ms, inbox ('' for nobody), letter.
-- Returns how many gateways read the letter; -1 if the token is another one.
local was = redis.call('HGET', KEYS[1], 'token') or ''
if was ~= ARGV[1] then return -1 end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], 'token', ARGV[2], 'owner', ARGV[3], 'sealed', ARGV[4], 'at', string.format('%d.%06d', now[1], now[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
if ARGV[6] == '' then return 0 end
return redis.call('PUBLISH', ARGV[6], ARGV[7])
