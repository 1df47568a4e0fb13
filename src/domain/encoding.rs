//! Bytes as text where no crate of ours does it yet: hexadecimal, lower-case base32, percent-encoding.

/// `bytes` in lower-case hexadecimal.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes that `text` spells in hexadecimal of either case; `None` for anything else.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(hex_digit(*high)? << 4 | hex_digit(*low)?)).collect()
}

/// The value of one hexadecimal digit of either case.
#[must_use]
pub fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// `bytes` with all but the unreserved characters of RFC 3986 percent-encoded: safe anywhere in a URL behind the host.
#[must_use]
pub fn percent_encode(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(*byte));
        } else {
            encoded.push('%');
            encoded.push_str(&to_hex(&[*byte]).to_ascii_uppercase());
        }
    }
    encoded
}

/// Percent-decodes what can be decoded and leaves the rest: for finding names, never for reading values.
#[must_use]
pub fn lenient_percent_decode(raw: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        let escape = match rest {
            [b'%', high, low, ..] => from_hex(&String::from_utf8_lossy(&[*high, *low])),
            _ => None,
        };
        if let Some(bytes) = escape {
            decoded.extend(bytes);
            rest = rest.get(3..).unwrap_or_default();
        } else {
            decoded.push(*first);
            rest = tail;
        }
    }
    decoded
}

/// `bytes` in the alphabet of RFC 4648 section 6, in lower case and without padding. The number of bytes is a
/// multiple of five, so that no bit is left over.
#[must_use]
pub fn to_base32(bytes: &[u8]) -> String {
    let (groups, rest) = bytes.as_chunks::<5>();
    debug_assert!(rest.is_empty(), "base32 takes whole groups of five bytes");
    let mut text = String::with_capacity(groups.len() * 8);
    for [a, b, c, d, e] in groups {
        let bits = u64::from_be_bytes([0, 0, 0, *a, *b, *c, *d, *e]);
        for shift in (0..40).step_by(5).rev() {
            let [.., low] = (bits >> shift).to_be_bytes();
            text.push(base32_symbol(low & 31));
        }
    }
    text
}

fn base32_symbol(value: u8) -> char {
    char::from(if value < 26 { b'a' + value } else { b'2' + (value - 26) })
}

/// The bytes that `text` spells as [`to_base32`] does; `None` for upper case, padding, other symbols or a length
/// that is not a multiple of eight.
#[must_use]
pub fn from_base32(text: &str) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_bytes().as_chunks::<8>();
    if !rest.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(groups.len() * 5);
    for group in groups {
        let mut bits = 0_u64;
        for symbol in group {
            let value = match symbol {
                b'a'..=b'z' => symbol - b'a',
                b'2'..=b'7' => symbol - b'2' + 26,
                _ => return None,
            };
            bits = bits << 5 | u64::from(value);
        }
        let [_, _, _, low @ ..] = bits.to_be_bytes();
        bytes.extend(low);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn base32_is_that_of_rfc_4648() {
        assert_eq!(to_base32(b"fooba"), "mzxw6ytb");
        assert_eq!(from_base32("mzxw6ytb"), Some(b"fooba".to_vec()));
        for bad in ["MZXW6YTB", "mzxw6yt", "mzxw6yt1", "mzxw6yt="] {
            assert_eq!(from_base32(bad), None, "{bad}");
        }
    }

    #[test]
    fn hex_takes_both_cases_and_nothing_else() {
        assert_eq!(to_hex(&[0, 0xab, 0xff]), "00abff");
        assert_eq!(from_hex("00aBFf"), Some(vec![0, 0xab, 0xff]));
        for bad in ["0", "0g", " 0", "é"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn percent_encoding_leaves_what_is_unreserved() {
        assert_eq!(percent_encode(b"aZ09-._~"), "aZ09-._~");
        assert_eq!(percent_encode("a b+&=/?#%{}ü".as_bytes()), "a%20b%2B%26%3D%2F%3F%23%25%7B%7D%C3%BC");
    }

    #[test]
    fn lenient_decoding_leaves_what_is_broken() {
        assert_eq!(lenient_percent_decode(b"%73i%6x%"), b"si%6x%");
        assert_eq!(lenient_percent_decode(b"a+%2"), b"a+%2");
    }

    proptest! {
        #[test]
        fn round_trips(groups in proptest::collection::vec(any::<[u8; 5]>(), 0..8)) {
            let bytes: Vec<u8> = groups.concat();
            prop_assert_eq!(from_base32(&to_base32(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(lenient_percent_decode(percent_encode(&bytes).as_bytes()), bytes);
        }
    }
}
