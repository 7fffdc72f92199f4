-- The same algorithm as quillwork_app::gcra, on `now` in microseconds.
-- KEYS[1]: the key; ARGV: the interval in microseconds, the burst, n (at most the burst).
-- Returns the microseconds to wait; 0 if allowed.
local interval, burst, n = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local refill = interval * burst
local tat = tonumber(redis.call('GET', KEYS[1])) or 0
tat = math.min(math.max(tat, now), now + refill)
local next = tat + interval * n
if next - refill > now then
  return next - refill - now
end
if next > now then
  -- Numbers of this size lose digits in Lua's own text form. The key leaves when its budget is full again.
  redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000))
end
return 0
