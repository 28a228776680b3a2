r"""The SDP that tells FFmpeg where a room's mix arrives (RFC 8866, RFC 7587). Pure.

>>> print(sdp("10.0.0.5", 30000).replace("\r\n", "\n"), end="")
v=0
o=- 0 0 IN IP4 10.0.0.5
s=-
c=IN IP4 10.0.0.5
t=0 0
m=audio 30000 RTP/AVP 111
a=rtpmap:111 opus/48000/2
a=recvonly
"""

import ipaddress

PAYLOAD_TYPE = 111  # what the Janus manager's forwarder sends


def sdp(address: str, port: int) -> str:
    """Only checked values reach the text. Raises ValueError for any other address or port.

    >>> sdp("localhost", 30000)
    Traceback (most recent call last):
    ValueError: 'localhost' does not appear to be an IPv4 or IPv6 address
    """
    if not (0 < port < 65535 and port % 2 == 0):
        raise ValueError(f"an RTP port is even and below 65535: {port}")
    ip = ipaddress.ip_address(address)
    where = f"IN IP{ip.version} {ip}"
    lines = (
        "v=0",
        f"o=- 0 0 {where}",
        "s=-",
        f"c={where}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} opus/48000/2",
        "a=recvonly",
    )
    return "".join(line + "\r\n" for line in lines)
