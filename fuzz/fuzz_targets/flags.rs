#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mcp_ultra_fuzz_properties::flags::holds(data));
