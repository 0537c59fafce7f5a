//! The configuration: one section a file, loaded from file, environment and flags, with errors that name line and column.
