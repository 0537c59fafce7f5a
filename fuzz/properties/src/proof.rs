//! Proofs of tokens that are bound to a key: what is taken for one is one by another reading too, and nothing of it can be
//! changed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mcp_ultra_edge::identity::is_signed_proof;
use serde_json::Value;

/// What a key must not be signed by, and what it must not bring along (RFC 9449, 4.2 and 4.3).
const ALGORITHMS: [&str; 5] = ["ES256", "ES384", "EdDSA", "RS256", "PS256"];
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Panics where a text is accepted that is no proof, or one is accepted that was changed.
pub fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Seeds are marked as no secrets after the proof.
    let text = text.split_whitespace().next().unwrap_or_default();
    if !is_signed_proof(text) {
        return;
    }
    let parts: Vec<&str> = text.split('.').collect();
    assert_eq!(parts.len(), 3, "{text}");
    let (header, payload) = (read(parts[0]), read(parts[1]));
    let of = |value: &Value, name: &str| value[name].as_str().map(str::to_ascii_lowercase);
    let kind = of(&header, "typ").unwrap_or_default();
    assert!(
        matches!(&*kind, "dpop+jwt" | "application/dpop+jwt"),
        "{header}"
    );
    assert!(
        ALGORITHMS.contains(&header["alg"].as_str().unwrap_or_default()),
        "{header}"
    );
    assert!(header.get("crit").is_none(), "{header}");
    for member in PRIVATE {
        assert!(header["jwk"].get(member).is_none(), "{member}: {header}");
    }
    for member in ["jti", "htm", "htu", "ath"] {
        assert!(payload[member].is_string(), "{payload}");
    }
    assert!(
        payload["iat"].as_f64().is_some_and(|issued| issued >= 0.0),
        "{payload}"
    );
    let without = text.rsplit_once('.').map_or("", |(message, _)| message);
    assert!(
        !is_signed_proof(without) && !is_signed_proof(&format!("{without}.")),
        "{text}"
    );
    // One character at a time would take long: some, spread over all of it.
    for at in (0..text.len()).step_by(text.len() / 16 + 1) {
        let mut changed = text.as_bytes().to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        // The last character of a part may have bits that say nothing; what is read strictly has not.
        let changed = String::from_utf8_lossy(&changed).into_owned();
        assert!(!is_signed_proof(&changed), "{changed}");
    }
}

fn read(part: &str) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
