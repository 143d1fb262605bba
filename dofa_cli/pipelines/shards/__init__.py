"""Work cut into shards: finished ones are kept, so that a stopped run goes on where it was."""
