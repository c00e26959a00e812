"""The HTTP server.

`server` listens, on `connections` that are counted and bounded; `request` reads what a client
sent, `browser` what it says of the page that asks, and `ask` who asks what. `api` has the routes:
`calls` answers for calls, `overview` shows many of something at once, `tokens` makes tokens of
keys, `operation` is for those who look after the agent. `answers` is the JSON of all of it,
`stream` sends events as they come, and `openapi.yml` describes the whole. `pages` are the files of
`static/`: what people see in a browser, which uses this API and nothing else. It sees of a call
what `dispatch` and `report` show, and knows no PBX.
"""
