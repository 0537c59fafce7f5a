//! Load generator, bare upstream and report for the benchmark.

fn main() {}
