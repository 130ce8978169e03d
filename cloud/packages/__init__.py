"""Large packages for gateways: stored by digest, fetched over HTTPS in ranges, by their own gateways only."""
