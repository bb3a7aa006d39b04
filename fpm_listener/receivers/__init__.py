"""One small module for each kind of receiver: payload, signature, and what counts as success."""
