"""The Asterisk Gateway Interface over TCP (FastAGI). Asterisk connects to us.

    <- agi_network: yes
    <- agi_network_script: c2c
    <- agi_request: agi://127.0.0.1:8475/c2c
    <- agi_channel: Local/100@from-phones-00000066;1
    <- agi_uniqueid: c2c-b9df8fb2
    <-
    -> GET VARIABLE "NOT_SET"
    <- 200 result=0
    -> EXEC "Dial" "PJSIP/200,30,g"
    <- 200 result=0
    -> GET FULL VARIABLE "${DIALSTATUS},${HANGUPCAUSE}"
    <- 200 result=1 (BUSY,17)
    -> EXEC "Wait" "1"
    <- HANGUP
    <- 200 result=-1

Every line ends with LF. An empty line ends the environment, with which Asterisk begins. Then each
command of ours gets one reply, in order. HANGUP is no reply, and may come at any time.

`message` reads and writes the lines of the wire, `session` orders commands and replies, `channel`
is what a conversation holds on to, `protocol` accepts the connections. It may know `text` and
`errors`, and no call: it could be lifted into another project with its tests.
"""
