//! What both planes stand on: bounded listeners and the outbound connector.
