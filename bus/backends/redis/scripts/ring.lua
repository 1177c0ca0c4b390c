-- group, lanes: whoever listened here does so no longer, others shall look
local base = key_of(ARGV[1]) .. ':'
local watched = call('EXISTS', base .. 'next') == 1
for i = 2, #ARGV do
  local key = base .. ARGV[i]
  if call('LLEN', key .. ':wait') > 0 then
    ring(key)
  elseif watched and i == 2 then
    ring(key) -- somebody has to know when the next one falls due
  end
end
return 0
