-- Who owns a connection id after a registration.
--   call  of its node: leases inc gen mode ttlMs takeoverLimit takeoverWindow numsub channelPrefix, as register.lua has them
local function decide(call, old, tok, user, own) -- status, fencing token, former or present owner and its token; then the new
  -- route, unless it is refused
  local inc, gen, mode, expiry = call.inc, call.gen, call.mode, now + call.ttlMs
  local oldGen, oldTok, oldToken, oldExp, oldPrevs, oldTakeovers = parseRoute(old or '')
  if not oldGen then return 'NEW', own, '', '', routeOf(gen, tok, num(own), expiry, '', '', user) end
  local till, oldInc = leaseOf(call.leases, oldGen)
  local same = oldInc == inc and oldTok == tok
  if same and oldGen == gen then
    return 'DUP', oldToken, '', '', routeOf(gen, tok, oldToken, expiry, oldPrevs, oldTakeovers, user)
  end
  local owner, newer = oldInc or '', mode == 'restore' and own > tonumber(oldToken)
  local superseded = string.find(',' .. oldPrevs .. ',', ',' .. inc .. '/' .. tok .. ',', 1, true)
  if superseded and not same and not newer then return 'STALE', oldToken, owner, oldTok end
  local live = not same and oldInc and till > now and oldExp > now
  if live and mode == 'nx' then return 'EXISTS', oldToken, owner, oldTok end
  if live and mode == 'restore' and not newer then return 'MOVED', oldToken, owner, oldTok end
  local takes = live and (mode == 'take' or mode == 'load') and (oldInc == inc or hears(call.numsub, call.channelPrefix .. oldInc))
  local takeovers, counted, mark = takeoversOf(oldTakeovers, mode == 'load', call.takeoverWindow)
  if takes and counted >= call.takeoverLimit then return 'STORM', oldToken, owner, oldTok end
  if takes then takeovers[#takeovers + 1] = mark .. num(now) end
  local token, prevs = newer and own or math.max(own, tonumber(oldToken) + 1), { (oldInc or '?') .. '/' .. oldTok }
  for prev in string.gmatch(oldPrevs, '[^,]+') do if #prevs < 3 then prevs[#prevs + 1] = prev end end
  if same then owner, oldTok = '', '' end
  local past = same and oldPrevs or table.concat(prevs, ',')
  local route = routeOf(gen, tok, num(token), expiry, past, table.concat(takeovers, ','), user)
  return live and 'TOOK' or 'NEW', token, owner, oldTok, route
end
