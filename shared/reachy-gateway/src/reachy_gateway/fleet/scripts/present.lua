-- Note that a gateway is here or leaves, and return the gateways of the last seconds. Old ones are forgotten.
-- KEYS: all gateways. ARGV: inbox, sealed, 1 (it is here) or 0 (it leaves). Returns the sealed text of each gateway.
local now = tonumber(redis.call('TIME')[1])
if redis.call('HLEN', KEYS[1]) > 1000 then redis.call('DEL', KEYS[1]) end -- more than any fleet has
if ARGV[3] == '0' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], now .. ':' .. ARGV[2]) end
local found = {}
local all = redis.call('HGETALL', KEYS[1])
for n = 1, #all, 2 do
  local at, said = string.match(all[n + 1], '^(%d+):(.*)$')
  if at and math.abs(now - tonumber(at)) <= 3 then
    found[#found + 1] = said
  elseif not at or math.abs(now - tonumber(at)) > 60 then
    redis.call('HDEL', KEYS[1], all[n])
  end
end
return found
