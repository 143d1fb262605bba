"""A scene through the network: windows laid, streamed, blended, written."""
