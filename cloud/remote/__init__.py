"""What the cloud asks of gateways: commands as rows, signed when they are handed out, settled by the gateway's answer."""
