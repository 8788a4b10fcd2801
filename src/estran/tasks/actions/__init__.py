"""What native modules do on the controller before, and after, their part on the host."""
