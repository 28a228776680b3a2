"""The proof's instruments: what a listener hears, and whether what is agrees with what must be.

``player`` plays a room as hls.js does and measures; ``witness`` lists etcd, processes, ports,
Januses and folders, and judges them; ``ledger`` keeps what REST acknowledged. The tests of faults,
``./onair bench faults`` and ``./onair chaos`` use them. Services never import this package.
"""
