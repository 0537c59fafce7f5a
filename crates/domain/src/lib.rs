//! Rules without I/O: principals, catalog, snapshot, clock, and the ports to what is outside.
