-- Put things on a shelf that are newer than what is there. Tell all gateways if anything was put.
-- KEYS: the shelf. ARGV: channel, message for it; then name, version, sealed, and so on. Returns how many were put.
local put = 0
for n = 3, #ARGV, 3 do
  local was = redis.call('HGET', KEYS[1], ARGV[n])
  local version = was and tonumber(string.match(was, '^(%d+):')) or -1
  if version < tonumber(ARGV[n + 1]) then
    redis.call('HSET', KEYS[1], ARGV[n], ARGV[n + 1] .. ':' .. ARGV[n + 2])
    put = put + 1
  end
end
if put > 0 then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return put
