"""etcd as this project sees it: ``api`` is the contract, ``client`` and ``memory`` implement it."""
