/// `MurmurHash3_x86_32` of a text with the seed 0, as flagd assigns shares by it.
pub(super) fn hash(text: &str) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let scrambled = |word: u32| word.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let (words, rest) = text.as_bytes().as_chunks::<4>();
    let mut hash = words.iter().fold(0_u32, |hash, word| {
        let mixed = hash ^ scrambled(u32::from_le_bytes(*word));
        mixed
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64)
    });
    if !rest.is_empty() {
        let word = rest
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u32::from(*byte));
        hash ^= scrambled(word);
    }
    // The reference counts in 32 bits, too.
    hash ^= u32::try_from(text.len() & 0xffff_ffff).unwrap_or_default();
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_hashes_that_flagds_tests_say() {
        // open-feature/flagd-testbed, "Fractional operator hash edge cases".
        for (text, expected) in [
            ("ejOoVL", 0),
            ("bY9fO-", 1),
            ("SI7p-", 2_147_483_647),
            ("6LvT0", 2_147_483_648),
            ("ceQdGm", 4_294_967_295),
            ("", 0),
        ] {
            assert_eq!(hash(text), expected, "{text}");
        }
    }
}
