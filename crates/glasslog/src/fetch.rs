//! Fetching tiles, bundles and checkpoints over HTTP and from a directory.
